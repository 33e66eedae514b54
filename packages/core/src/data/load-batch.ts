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
  /** Where the sampler stood after this batch; comes back with it. */
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
const MAX_SUBSTITUTES = 50;

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
  for (let attempt = 0; !sample; attempt++) {
    if (attempt === MAX_SUBSTITUTES) {
      const { file, reason } = bad.at(-1)!;
      throw new D2vError(
        `${bad.length} samples drawn one after the other are damaged (the last: ${file}: ${reason}); check the data`,
      );
    }
    const substitute = substituteStream(from.seed, slot.epoch, slot.offset, attempt);
    sample = await tryGet(substitute.int(from.source.length), substitute, job.mode, from, bad);
  }
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
