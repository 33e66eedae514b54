/** Small host-side helpers shared by the mask generators. */
import type { Philox } from '../../random.js';

/** Gives the random stream of a row, so that a row's mask does not depend on the other rows of the batch. */
export type RowRandom = (row: number) => Philox;

/** Moves `count` uniformly chosen entries of `items[0..length)` to its front (partial Fisher-Yates). */
export function chooseFirst(items: Int32Array, length: number, count: number, rng: Philox): void {
  for (let i = 0; i < count; i++) {
    const j = i + rng.int(length - i);
    const chosen = items[j]!;
    items[j] = items[i]!;
    items[i] = chosen;
  }
}

/** Rounds halves to the even neighbour, as Python's `round` and NumPy's `rint` do. */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Collects the positions of `mask[start..start+length)` that equal `value` into `out`; returns how many. */
export function positionsOf(
  mask: Uint8Array,
  start: number,
  length: number,
  value: 0 | 1,
  out: Int32Array,
): number {
  let n = 0;
  for (let i = 0; i < length; i++) if (mask[start + i] === value) out[n++] = i;
  return n;
}

/**
 * Sets or clears uniformly chosen tokens of one row until exactly `target` of them are set.
 * @param count how many are set now
 * @param scratch at least `length` long
 */
export function equaliseRow(
  mask: Uint8Array,
  start: number,
  length: number,
  count: number,
  target: number,
  scratch: Int32Array,
  rng: Philox,
): void {
  if (count === target) return;
  const from = count > target ? 1 : 0;
  const candidates = positionsOf(mask, start, length, from, scratch);
  const changes = Math.abs(count - target);
  chooseFirst(scratch, candidates, changes, rng);
  for (let i = 0; i < changes; i++) mask[start + scratch[i]!] = 1 - from;
}
