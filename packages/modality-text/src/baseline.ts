import type { Sample } from '@d2v/core';
import { SPECIAL_TOKENS } from './special-tokens.js';

/** Larger vocabularies share places: neighbours and probes have to stay affordable. */
const PLACES = 2048;

/**
 * What one would compare with before any learning: how often each token occurs, [2048]. Counts are damped (square roots) and
 * of length 1; token ids are spread over the places by a hash.
 */
export function bagOfTokens(sample: Sample): Float32Array {
  const bag = new Float32Array(PLACES);
  for (const id of sample.tensors.source!.data) {
    if (id >= SPECIAL_TOKENS.length) bag[Math.imul(id, 0x9e3779b1) >>> 21]! += 1;
  }
  let squares = 0;
  for (let i = 0; i < PLACES; i++) {
    squares += bag[i]!;
    bag[i] = Math.sqrt(bag[i]!);
  }
  const factor = squares > 0 ? 1 / Math.sqrt(squares) : 0;
  return bag.map((value) => value * factor);
}
