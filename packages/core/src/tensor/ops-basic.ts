/** The basic differentiable operations. Every one checks its operands in the native layer and names itself in errors. */

import type { RawTensor, RngKey } from '@d2v/cuda-kernels';
import * as k from '@d2v/cuda-kernels';
import { D2vError } from '../errors.js';
import { record } from './autograd.js';
import { gradients, type UnaryName } from './gradients.js';
import type { MatmulOptions } from './op-options.js';
import { type Shape, Tensor } from './tensor.js';

/** a + b; b may be a suffix of a's shape or a single element. */
export function add(a: Tensor, b: Tensor): Tensor {
  const y = record('add', gradients.add, [a, b], k.add(a.valueFor(b.dtype), b.valueFor(a.dtype)), {
    b: b.shape,
  });
  const [exactA, exactB] = [a.exactValue, b.exactValue];
  if (exactA && exactB) y.exactValue = () => exactA() + exactB();
  return y;
}

/** a - b; b may be a suffix of a's shape or a single element. */
export function sub(a: Tensor, b: Tensor): Tensor {
  return record('sub', gradients.sub, [a, b], k.sub(a.valueFor(b.dtype), b.valueFor(a.dtype)), {
    b: b.shape,
  });
}

/** a * b elementwise; b may be a suffix of a's shape or a single element. */
export function mul(a: Tensor, b: Tensor): Tensor {
  const operands = { a: a.valueFor(b.dtype), b: b.valueFor(a.dtype) };
  return record('mul', gradients.mul, [a, b], k.mul(operands.a, operands.b), operands);
}

/** x times a constant. */
export function scale(x: Tensor, factor: number): Tensor {
  const y = record('scale', gradients.scale, [x], k.scale(x.raw, factor), { factor });
  const { exactValue } = x;
  if (exactValue) y.exactValue = () => exactValue() * factor;
  return y;
}

/** An elementwise function by name. `gelu` is the exact one (with erf). */
export function unary(fn: UnaryName, x: Tensor): Tensor {
  const y = k.unary(fn, x.raw);
  return record(fn, gradients.unary, [x], y, { fn, x: x.raw, y });
}

export const gelu = (x: Tensor): Tensor => unary('gelu', x);
export const relu = (x: Tensor): Tensor => unary('relu', x);
export const tanh = (x: Tensor): Tensor => unary('tanh', x);
export const sigmoid = (x: Tensor): Tensor => unary('sigmoid', x);
export const exp = (x: Tensor): Tensor => unary('exp', x);
export const log = (x: Tensor): Tensor => unary('log', x);
export const sqrt = (x: Tensor): Tensor => unary('sqrt', x);
export const square = (x: Tensor): Tensor => unary('square', x);

/** The values in another floating dtype; the gradient is converted back. */
export function cast(x: Tensor, dtype: 'f32' | 'bf16'): Tensor {
  if (x.dtype === dtype) return x;
  return record('cast', gradients.cast, [x], k.cast(x.raw, dtype), { dtype: x.dtype as 'f32' | 'bf16' });
}

/** Gives a scalar its exact value, f64 [1], which it owns from then on. */
export function withExact(y: Tensor, value: RawTensor): Tensor {
  const read = k.readLater([value]);
  y.exact = value;
  y.exactValue = () => (read.get()[0] as Float64Array)[0]!;
  return y;
}

/** The sum of all elements, as one element of shape [1]. */
export function sum(x: Tensor): Tensor {
  const value = k.sum(x.raw);
  const out = k.cast(value, x.dtype);
  return withExact(record('sum', gradients.sum, [x], out, { shape: x.shape }), value);
}

/** The mean of all elements, as one element of shape [1]. */
export function mean(x: Tensor): Tensor {
  return scale(sum(x), 1 / x.size);
}

/** Mean over the tokens of x [B,T,D], leaving out the first `skip`: [B,D]. */
export function meanTokens(x: Tensor, skip = 0): Tensor {
  return record('meanTokens', gradients.meanTokens, [x], k.meanTokens(x.raw, skip), { shape: x.shape, skip });
}

/** Softmax over the last dimension. */
export function softmax(x: Tensor): Tensor {
  const y = k.softmax(x.raw);
  return record('softmax', gradients.softmax, [x], y, { y });
}

/** Logarithm of the softmax over the last dimension. */
export function logSoftmax(x: Tensor): Tensor {
  const y = k.logSoftmax(x.raw);
  return record('logSoftmax', gradients.logSoftmax, [x], y, { y });
}

/** alpha * a b over the last two dimensions, a [..., M, K], b [..., K, N]; leading dimensions equal, or one operand
 *  of rank 2 shared by the batch. */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  const { transA = false, transB = false, alpha = 1 } = options;
  const c = k.matmul(a.raw, b.raw, { transA, transB, alpha });
  return record('matmul', gradients.matmul, [a, b], c, { a: a.raw, b: b.raw, transA, transB, alpha });
}

/** The same elements in another shape (one dimension may be -1). */
export function reshape(x: Tensor, shape: Shape): Tensor {
  const known = shape.reduce((n, d) => (d === -1 ? n : n * d), 1);
  const full = shape.map((d) => (d === -1 ? x.size / known : d));
  const y = record('reshape', gradients.reshape, [x], x.raw.reshape(full), {});
  y.exactValue = x.exactValue;
  return y;
}

/** Dimensions permuted: dimension i of the result is dimension perm[i] of x. */
export function transpose(x: Tensor, perm: readonly number[]): Tensor {
  const inverse = perm.map((_, i) => perm.indexOf(i));
  return record('transpose', gradients.transpose, [x], k.transpose(x.raw, perm), { inverse });
}

/** x with dimension `dim` cut to [start, start + length). */
export function slice(x: Tensor, dim: number, start: number, length: number): Tensor {
  const y = k.slice(x.raw, dim, start, length);
  return record('slice', gradients.slice, [x], y, { shape: x.shape, dim, start });
}

/** Tensors one after the other along a dimension. */
export function concat(list: readonly Tensor[], dim: number): Tensor {
  const y = k.concat(
    list.map((t) => t.raw),
    dim,
  );
  return record('concat', gradients.concat, list, y, { dim, lengths: list.map((t) => t.shape[dim]!) });
}

/** [B, ...] to [B * times, ...]: row b * times + m is a copy of row b. */
export function repeatRows(x: Tensor, times: number): Tensor {
  if (times === 1) return x;
  return record('repeatRows', gradients.repeatRows, [x], k.repeatRows(x.raw, times), { times });
}

/** Row b of x [B, ...] times factors[b] (f32 [B], no gradient). */
export function scaleRows(x: Tensor, factors: RawTensor): Tensor {
  return record('scaleRows', gradients.scaleRows, [x], k.scaleRows(x.raw, factors), { factors });
}

/** Zeroes elements with probability p and scales the others by 1 / (1 - p); which ones depends only on the key. */
export function dropout(x: Tensor, p: number, key: RngKey): Tensor {
  if (!(p >= 0 && p < 1)) throw new D2vError(`dropout: the probability must be in [0, 1), got ${p}.`);
  if (p === 0) return x;
  return record('dropout', gradients.dropout, [x], k.dropout(x.raw, p, key), { p, key });
}

/** A scalar tensor without history. */
export function scalar(value: number, device = 'cpu'): Tensor {
  const t = new Tensor(k.full([1], value, 'f32', device));
  t.exactValue = () => value;
  return t;
}
