import { Philox } from '../random.js';

/**
 * The random streams of data loading. Each is keyed by what it is for, never by time, process or worker, so that every
 * sample comes out the same however it is loaded and wherever a run was interrupted.
 */

/** Order of the samples in an epoch. */
export function orderStream(seed: number, epoch: number): Philox {
  return new Philox(seed).fork('order', epoch);
}

/** Augmentation of one sample in one epoch. */
export function sampleStream(seed: number, epoch: number, index: number): Philox {
  return new Philox(seed).fork('sample', epoch, index);
}

/** Choice and augmentation of a substitute for the damaged sample at a place of an epoch. */
export function substituteStream(seed: number, epoch: number, offset: number, attempt: number): Philox {
  return new Philox(seed).fork('substitute', epoch, offset, attempt);
}
