/** Matrix multiplication. Leading dimensions of `[..., K]` are flattened. */
import { native } from '../native.js';
import type { Activation, RawTensor } from '../types.js';

/** y[..., M] = act(x[..., K] w[M, K]^T + bias[M]); `pre` is the value before the activation, with `savePre`. */
export function linear(
  x: RawTensor,
  w: RawTensor,
  bias?: RawTensor | null,
  options?: { activation?: Activation; savePre?: boolean },
): { y: RawTensor; pre: RawTensor | null } {
  return native.linear!(x, w, bias, options) as { y: RawTensor; pre: RawTensor | null };
}

/**
 * dx[..., K] = dy[..., M] w[M, K], times gelu'(geluPre) if given (x was gelu(geluPre), both [..., K]). With `accumulate`
 * the result is added into that tensor, which is returned.
 */
export function linearGradInput(
  dy: RawTensor,
  w: RawTensor,
  options?: { geluPre?: RawTensor | null; accumulate?: RawTensor | null },
): RawTensor {
  return native.linearGradInput!(dy, w, options) as RawTensor;
}

/** dw[M, K] += dy[..., M]^T x[..., K]; db[M] += sum of dy. dw and db are f32. */
export function linearGradWeight_(dw: RawTensor, dy: RawTensor, x: RawTensor, db?: RawTensor | null): void {
  native.linearGradWeight_!(dw, dy, x, db);
}

/**
 * c[..., M, N] = alpha * op(a) op(b). Leading dimensions are equal, or one operand has rank 2 and is shared by the batch.
 * `transA`: a is stored [..., K, M]; `transB`: b is stored [..., N, K].
 */
export function matmul(
  a: RawTensor,
  b: RawTensor,
  options?: { transA?: boolean; transB?: boolean; alpha?: number },
): RawTensor {
  return native.matmul!(a, b, options) as RawTensor;
}
