import { D2vError } from '../errors.js';
import type { Batch, DataConfig, DataSource, Modality, Sample } from '../modality/contract.js';
import { mapConcurrent } from './concurrency.js';
import type { SamplePosition, Slot } from './sampler.js';
import { sampleStream, substituteStream } from './streams.js';

/** A damaged sample that was met: which, and what is wrong with it. */
export interface BadSample {
  index: number;
  file: string;
  reason: string;
}

/** One batch to be loaded. */
export interface BatchJob {
  slots: Slot[];
  mode: 'train' | 'eval';
  /** Put another sample in the place of a damaged one (training), or leave it out (evaluation). */
  substitute: boolean;
  /** What may stand in for a damaged sample; default: any sample. If all of these are damaged, it is left out. */
  substitutes?: readonly number[];
  /** Of the last batch of an update: where the sampler stands after it; comes back with the batch. */
  after?: SamplePosition;
}

export interface LoadedBatch {
  /** Null if every sample was damaged and left out. */
  batch: Batch | null;
  /** Damaged samples that were met, in the order of their places. */
  bad: BadSample[];
  after?: SamplePosition;
}

export interface BatchSource {
  source: DataSource;
  modality: Pick<Modality, 'collate'>;
  data: DataConfig;
  seed: number;
}

/** Decodes that one thread has under way: enough to overlap reading with decoding. */
const CONCURRENT_DECODES = 4;
/** Substitutes tried for one place before the data is called unusable. */
export const MAX_SUBSTITUTES = 50;

/** @param bad what was found instead of samples; at least one */
export function tooManyDamaged(bad: readonly BadSample[]): D2vError {
  const { file, reason } = bad.at(-1)!;
  return new D2vError(
    `${bad.length} samples drawn one after the other are damaged (the last: ${file}: ${reason}); check the data`,
  );
}

/**
 * Reads, transforms and collates one batch. The result depends on the job and the files only.
 * @throws D2vError when a sample cannot be read for a reason other than damage, or no substitute can be found
 */
export async function loadBatch(job: BatchJob, from: BatchSource): Promise<LoadedBatch> {
  const places = await mapConcurrent(job.slots, CONCURRENT_DECODES, (slot) => loadPlace(slot, job, from));
  const samples = places.flatMap((place) => place.sample ?? []);
  return {
    batch: samples.length > 0 ? from.modality.collate(samples, from.data) : null,
    bad: places.flatMap((place) => place.bad),
    after: job.after,
  };
}

interface Place {
  sample: Sample | null;
  bad: BadSample[];
}

async function loadPlace(slot: Slot, job: BatchJob, from: BatchSource): Promise<Place> {
  const bad: BadSample[] = [];
  const random = sampleStream(from.seed, slot.epoch, slot.index);
  let sample = await tryGet(slot.index, random, job.mode, from, bad);
  if (!job.substitute) return { sample, bad };
  const tries = Math.min(MAX_SUBSTITUTES, job.substitutes?.length ?? Infinity);
  for (let attempt = 0; !sample && attempt < tries; attempt++) {
    const substitute = substituteStream(from.seed, slot.epoch, slot.offset, attempt);
    // Those given are in random order: one after the other, beginning elsewhere for each place of the batch.
    const index = job.substitutes
      ? job.substitutes[(slot.offset + attempt) % job.substitutes.length]!
      : substitute.int(from.source.length);
    sample = await tryGet(index, substitute, job.mode, from, bad);
  }
  if (!sample && tries === MAX_SUBSTITUTES) throw tooManyDamaged(bad);
  return { sample, bad };
}

async function tryGet(
  index: number,
  random: Parameters<DataSource['get']>[1],
  mode: 'train' | 'eval',
  { source }: BatchSource,
  bad: BadSample[],
): Promise<Sample | null> {
  try {
    return await source.get(index, random, mode);
  } catch (error) {
    // By name: a plugin may carry another copy of core.
    if ((error as Error)?.name === 'BadSampleError') {
      const { file, reason } = error as { file: string; reason: string };
      bad.push({ index, file, reason });
      return null;
    }
    if (error instanceof D2vError) throw error;
    const message = (error as Error)?.message ?? String(error);
    throw new D2vError(`cannot load sample ${source.describe(index)}: ${message}`, { cause: error });
  }
}
