/** Elementwise ops and reductions. */
import { native } from '../native.js';
import type { RawTensor, RngKey, Shape, UnaryName } from '../types.js';

/** a + b; b has a's shape, its last dimensions, or one element. */
export function add(a: RawTensor, b: RawTensor): RawTensor {
  return native.add!(a, b) as RawTensor;
}

/** a - b; shapes as for `add`. */
export function sub(a: RawTensor, b: RawTensor): RawTensor {
  return native.sub!(a, b) as RawTensor;
}

/** a * b; shapes as for `add`. */
export function mul(a: RawTensor, b: RawTensor): RawTensor {
  return native.mul!(a, b) as RawTensor;
}

/** alpha x */
export function scale(x: RawTensor, alpha: number): RawTensor {
  return native.scale!(x, alpha) as RawTensor;
}

/** x = alpha x; alpha may be an f32 tensor of one element. */
export function scale_(x: RawTensor, alpha: number | RawTensor): void {
  native.scale_!(x, alpha);
}

/** dst += alpha src */
export function axpy_(dst: RawTensor, alpha: number, src: RawTensor): void {
  native.axpy_!(dst, alpha, src);
}

/** Row b of x [B, ...] times s[b], s f32 [B]. */
export function scaleRows(x: RawTensor, s: RawTensor): RawTensor {
  return native.scaleRows!(x, s) as RawTensor;
}

/** gelu is the exact one, x Phi(x). */
export function unary(name: UnaryName, x: RawTensor): RawTensor {
  return native.unary!(name, x) as RawTensor;
}

/** dy times the derivative at x; y is the result of the forward pass. */
export function unaryBackward(name: UnaryName, dy: RawTensor, x: RawTensor, y: RawTensor): RawTensor {
  return native.unaryBackward!(name, dy, x, y) as RawTensor;
}

/** Element i is 0 with probability p, otherwise x / (1 - p), by word i of the stream. The gradient is the same call on dy. */
export function dropout(x: RawTensor, p: number, key: RngKey): RawTensor {
  return native.dropout!(x, p, key) as RawTensor;
}

/** Over the last dimension. */
export function softmax(x: RawTensor): RawTensor {
  return native.softmax!(x) as RawTensor;
}

export function softmaxBackward(dy: RawTensor, y: RawTensor): RawTensor {
  return native.softmaxBackward!(dy, y) as RawTensor;
}

/** Over the last dimension. */
export function logSoftmax(x: RawTensor): RawTensor {
  return native.logSoftmax!(x) as RawTensor;
}

/** Sums leading dimensions away: `shape` is the end of dy's shape, or has one element. */
export function sumTo(dy: RawTensor, shape: Shape): RawTensor {
  return native.sumTo!(dy, shape) as RawTensor;
}

/** Sum of all elements, f64 [1]. */
export function sum(x: RawTensor): RawTensor {
  return native.sum!(x) as RawTensor;
}

/** Sum of squares, f64 [1]; the same for any number of threads. */
export function sumSquares(x: RawTensor): RawTensor {
  return native.sumSquares!(x) as RawTensor;
}

/** [B, T, D] -> [B, D]: mean over the tokens from `skip` on. */
export function meanTokens(x: RawTensor, skip?: number): RawTensor {
  return native.meanTokens!(x, skip) as RawTensor;
}

export function meanTokensBackward(dy: RawTensor, inputShape: Shape, skip?: number): RawTensor {
  return native.meanTokensBackward!(dy, inputShape, skip) as RawTensor;
}
