/** How files are cut into clips. */
import type { Philox } from '@d2v/core';

/** A stretch of a file in samples. */
export interface Stretch {
  start: number;
  count: number;
}

/** Part `part` of `parts` equal ones. */
export function partOf(length: number, part: number, parts: number): Stretch {
  const start = Math.floor((length * part) / parts);
  return { start, count: Math.floor((length * (part + 1)) / parts) - start };
}

/**
 * Clips that a file gives in training and its evaluation: one of at most `most` samples from each part that is at least
 * so long (and less than twice), so that an epoch hears about everything.
 */
export function partsToSample(length: number, most: number | null): number {
  return most === null ? 1 : Math.max(1, Math.floor(length / most));
}

/** Parts that cover a file, none of them longer than `most`. */
export function partsToCover(length: number, most: number | null): number {
  return most === null ? 1 : Math.max(1, Math.ceil(length / most));
}

/** At most `most` samples of a stretch: from anywhere in training, else from its middle. */
export function cropStretch(
  { start, count }: Stretch,
  most: number | null,
  rng: Philox,
  mode: 'train' | 'eval',
): Stretch {
  const rest = most === null ? 0 : count - most;
  if (rest <= 0) return { start, count };
  const offset = mode === 'train' ? rng.int(rest + 1) : Math.floor(rest / 2);
  return { start: start + offset, count: count - rest };
}
