/**
 * Choosing, restoring and rearranging tokens. R = B * M rows: row b * M + m is copy m of sample b. Indices are checked.
 */
import { native } from '../native.js';
import type { RawTensor, RngKey, Shape } from '../types.js';

/** [R, E + K, D]: the E rows of `prefix`, then x[b, ids[r, j]]. Without ids every token, R = B. */
export function gatherTokens(x: RawTensor, ids: RawTensor | null, prefix?: RawTensor | null): RawTensor {
  return native.gatherTokens!(x, ids, prefix) as RawTensor;
}

/** dx [B, T, D]; dPrefix f32 [E, D] is accumulated into. */
export function gatherTokensBackward(
  dy: RawTensor,
  ids: RawTensor | null,
  inputShape: Shape,
  dPrefix?: RawTensor | null,
): RawTensor {
  return native.gatherTokensBackward!(dy, ids, inputShape, dPrefix) as RawTensor;
}

/**
 * x [R, E + K, D] without its first `extra` = E tokens, put back in order: y[r, i] is kept token restore[r, i] where that
 * is below K, otherwise noise[r, restore[r, i] - K]. Noise [R, T - K, D], or drawn: element (r, n, d) is normal number
 * ((r (T - K) + n) D + d) of the stream, times std.
 */
export function restoreTokens(
  x: RawTensor,
  restore: RawTensor,
  extra: number,
  noise: RawTensor | { std: number; key: RngKey },
): RawTensor {
  return native.restoreTokens!(x, restore, extra, noise) as RawTensor;
}

/** dx [R, extra + kept, D]; zero for the extra tokens. */
export function restoreTokensBackward(
  dy: RawTensor,
  restore: RawTensor,
  extra: number,
  kept: number,
): RawTensor {
  return native.restoreTokensBackward!(dy, restore, extra, kept) as RawTensor;
}

/** [B, ...] -> [B * times, ...], each row `times` times in a row. */
export function repeatRows(x: RawTensor, times: number): RawTensor {
  return native.repeatRows!(x, times) as RawTensor;
}

/** [B * times, ...] -> [B, ...]: sums. */
export function repeatRowsBackward(dy: RawTensor, times: number): RawTensor {
  return native.repeatRowsBackward!(dy, times) as RawTensor;
}

/** Elements [start, start + length) of a dimension (negative: from the end), any dtype. */
export function slice(x: RawTensor, dim: number, start: number, length: number): RawTensor {
  return native.slice!(x, dim, start, length) as RawTensor;
}

/** dy in a tensor of zeros of `inputShape`. */
export function sliceBackward(dy: RawTensor, inputShape: Shape, dim: number, start: number): RawTensor {
  return native.sliceBackward!(dy, inputShape, dim, start) as RawTensor;
}

/** Joins tensors of one dtype along a dimension. */
export function concat(tensors: readonly RawTensor[], dim: number): RawTensor {
  return native.concat!(tensors, dim) as RawTensor;
}

/** Dimension i of the result is dimension perm[i] of x; any dtype. */
export function transpose(x: RawTensor, perm: readonly number[]): RawTensor {
  return native.transpose!(x, perm) as RawTensor;
}

/** ids i32 [...], table [V, D] -> [..., D]. */
export function embedding(ids: RawTensor, table: RawTensor): RawTensor {
  return native.embedding!(ids, table) as RawTensor;
}

/** dTable f32 [V, D] += dy at ids; the row `padding` gets nothing. */
export function embeddingGrad_(dTable: RawTensor, ids: RawTensor, dy: RawTensor, padding?: number): void {
  native.embeddingGrad_!(dTable, ids, dy, padding);
}
