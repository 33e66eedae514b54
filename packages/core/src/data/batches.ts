import type { DataConfig } from '../modality/contract.js';

/** How large a batch may be. */
export interface BatchBounds {
  /** Most samples; null = any number (one, where lengths are not known). */
  samples: number | null;
  /** Largest padded length: samples times the longest of them; null = any. A sample that is longer is a batch of one. */
  length: number | null;
}

/** The bounds that the `data` section states. */
export function boundsOf(data: Pick<DataConfig, 'batch_size' | 'batch_length'>): BatchBounds {
  return { samples: data.batch_size, length: data.batch_length };
}

/** Whether so many samples, the longest of the given length, may be one batch. */
export function fits(samples: number, longest: number, bounds: BatchBounds): boolean {
  if (samples <= 1) return true;
  return samples <= (bounds.samples ?? Infinity) && samples * longest <= (bounds.length ?? Infinity);
}

/**
 * Cuts samples, in their order, into batches as large as the bounds allow.
 * @param order indices of samples
 * @param lengths of all samples of the dataset; null if it has none, then `bounds.length` says nothing
 * @returns the end of each batch in `order`
 */
export function cutBatches(order: Int32Array, bounds: BatchBounds, lengths: Float64Array | null): number[] {
  const applied = lengths ? bounds : { samples: bounds.samples ?? 1, length: null };
  const ends: number[] = [];
  let start = 0;
  let longest = 0;
  for (let i = 0; i < order.length; i++) {
    const length = lengths?.[order[i]!] ?? 0;
    longest = Math.max(longest, length);
    if (fits(i - start + 1, longest, applied)) continue;
    ends.push(i);
    start = i;
    longest = length;
  }
  if (order.length > 0) ends.push(order.length);
  return ends;
}

/** The parts of `order` that end at `ends`. */
export function* partsOf(order: Int32Array, ends: Iterable<number>): Generator<Int32Array> {
  let start = 0;
  for (const end of ends) {
    yield order.subarray(start, end);
    start = end;
  }
}
