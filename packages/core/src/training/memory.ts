import * as k from '@d2v/cuda-kernels';
import type { RunConfig } from '../config/schema.js';
import { D2vError } from '../errors.js';
import type { Batch } from '../modality/contract.js';
import { formatBytes } from './fs-errors.js';

/** What an update of n samples at a time needs, in bytes: `fixed` + `base` + n * `perSample`. */
export interface MemoryNeed {
  /** Weights, gradients, moments, teacher: there already. */
  fixed: number;
  /** Activations that do not depend on the batch, and those of one sample. */
  base: number;
  perSample: number;
}

/** Kernel workspaces and gaps between blocks come on top of what tensors hold. */
const OVERHEAD = 1.15;
/** Node, the addon and the loader threads. */
const RUNTIME = 200 * 2 ** 20;

/**
 * Measures what an update needs, by running it on one and on two samples: activations grow in proportion to the batch.
 * @param peakOf runs forward and backward on the first n samples and returns the peak of memory beyond what was in use
 */
export function measureNeed(
  batchSize: number,
  fixed: number,
  peakOf: (samples: number) => number,
): MemoryNeed {
  const one = peakOf(1);
  if (batchSize === 1) return { fixed, base: 0, perSample: one };
  const two = peakOf(2);
  const perSample = Math.max(0, two - one);
  return { fixed, base: Math.max(0, one - perSample), perSample };
}

export function totalNeed(need: MemoryNeed, batchSize: number): number {
  return need.fixed + (need.base + need.perSample * batchSize) * OVERHEAD + RUNTIME;
}

/** Memory that this process can have in all: what is free, and what it has already. */
export function memoryForProcess(): number {
  return process.availableMemory() + process.memoryUsage.rss();
}

/** The same of a device: a GPU has memory of its own. */
export function memoryForRun(device: string): number {
  return k.deviceInfo().cuda.gpus.find((gpu) => gpu.device === device)?.memory ?? memoryForProcess();
}

/**
 * How large the largest batch is, in samples as long as the longest one (those that the need is measured on).
 * @param longest length of the longest sample; null if lengths are not known
 */
export function largestBatch({ data }: Pick<RunConfig, 'data'>, longest: number | null): number {
  const bySamples = data.batch_size ?? Infinity;
  const byLength = data.batch_length === null || longest === null ? Infinity : data.batch_length / longest;
  return Math.max(1, Math.min(bySamples, byLength));
}

/**
 * Compares need and supply before the first update.
 * @param config as the modality sees it
 * @param samples size of the largest batch, see `largestBatch`
 * @param section name of its `data` section: `data`, or `data.<modality>` in a run of several
 * @returns a line for the user
 * @throws D2vError that says what would fit
 */
export function checkMemory(
  need: MemoryNeed,
  config: RunConfig,
  samples: number,
  available: number,
  section = 'data',
): string {
  const total = totalNeed(need, samples);
  if (total <= available) return `needs about ${formatBytes(total)} of ${formatBytes(available)} memory`;
  const activations = (need.base + need.perSample * samples) * OVERHEAD;
  throw new D2vError(
    `this run needs about ${formatBytes(total)} of memory (weights, gradients and moments ${formatBytes(need.fixed)}; ` +
      `activations ${formatBytes(activations)} for ${batchKeys(config, section)} x model.clone_batch ${config.model.clone_batch}), ` +
      `but ${formatBytes(available)} is available: ${remedy(need, config, samples, available, section)}`,
  );
}

function batchKeys({ data }: RunConfig, section: string): string {
  return data.batch_length === null
    ? `${section}.batch_size ${data.batch_size}`
    : `${section}.batch_length ${data.batch_length}`;
}

/** Smaller batches, more of them per update: the update stays what it is. */
function remedy(
  need: MemoryNeed,
  config: RunConfig,
  samples: number,
  available: number,
  section: string,
): string {
  const { batch_size: size, batch_length: length } = config.data;
  const times = config.optimization.update_freq;
  // One batch becomes `parts`, or more of few become fewer of many (12 x 2 = 8 x 3).
  const total = size === null ? null : size * times;
  for (let freq = times + 1; freq <= Math.ceil(samples) * times; freq++) {
    if (total !== null && total % freq !== 0) continue;
    if (totalNeed(need, Math.max(1, (samples * times) / freq)) > available) continue;
    const keys = [
      total === null ? '' : `${section}.batch_size=${total / freq}`,
      length === null ? '' : `${section}.batch_length=${Number(((length * times) / freq).toPrecision(12))}`,
    ].filter(Boolean);
    const same = `with optimization.update_freq=${freq} fits and gives the same updates`;
    // More accumulation would also change the updates of the other modalities of a run.
    return `${keys.join(' and ')} ${section === 'data' ? same : 'fits'}`;
  }
  return 'even one sample at a time does not fit; lower model.clone_batch or choose a smaller preset';
}

/** The first `count` samples of a batch, as views. */
export function firstSamples(batch: Batch, count: number): Batch {
  const size = Math.min(count, batch.size);
  const tensors = Object.entries(batch.tensors).map(([name, { data, shape }]) => {
    const stride = data.length / batch.size;
    const part = { data: data.subarray(0, size * stride), shape: [size, ...shape.slice(1)] };
    return [name, part] as const;
  });
  return {
    size,
    tensors: Object.fromEntries(tensors),
    labels: batch.labels?.subarray(0, size),
    ids: batch.ids.slice(0, size),
  };
}
