/**
 * The gradients of the basic operations, as a table: `name: ({dy, ...}, saved) => [gradient of input 0, 1, ...]`.
 * Each entry is a thunk, run only if that input needs a gradient. See `gradients-fused.ts` for the model's fused ops.
 */

import type { RawTensor } from '@d2v/cuda-kernels';
import * as k from '@d2v/cuda-kernels';
import type { Gradient, GradThunk } from './autograd.js';
import type { Shape } from './tensor.js';

type R = RawTensor;
export type UnaryName = 'gelu' | 'relu' | 'tanh' | 'sigmoid' | 'exp' | 'log' | 'sqrt' | 'square';
type Thunks = (GradThunk | null)[];

/** Sums a gradient over the dimensions along which the operand was broadcast (a suffix shape, or one element). */
function unbroadcast(dy: R, shape: Shape): R {
  if (dy.shape.length === shape.length && dy.shape.every((d, i) => d === shape[i])) return dy;
  if (shape.every((d) => d === 1)) {
    return k.cast(k.sum(dy), dy.dtype).reshape(shape);
  }
  return k.sumTo(dy, shape);
}

/** Sum over the last dimension, one value per row. */
function rowSums(x: R): R {
  const width = x.shape.at(-1)!;
  const rows = x.size / width;
  const sums = k.matmul(x.reshape([rows, width]), k.full([width, 1], 1, x.dtype, x.device));
  return k.cast(sums, 'f32').reshape([rows]);
}

export const gradients = {
  add: (g: Gradient, s: { b: Shape }): Thunks => [() => g.dy, () => unbroadcast(g.dy, s.b)],
  sub: (g: Gradient, s: { b: Shape }): Thunks => [() => g.dy, () => k.scale(unbroadcast(g.dy, s.b), -1)],
  mul: ({ dy }: Gradient, s: { a: R; b: R }): Thunks => [
    () => k.mul(dy, s.b),
    () => unbroadcast(k.mul(dy, s.a), s.b.shape),
  ],
  scale: ({ dy }: Gradient, s: { factor: number }): Thunks => [() => k.scale(dy, s.factor)],
  unary: ({ dy }: Gradient, s: { fn: UnaryName; x: R; y: R }): Thunks => [
    () => k.unaryBackward(s.fn, dy, s.x, s.y),
  ],
  cast: ({ dy }: Gradient, s: { dtype: 'f32' | 'bf16' }): Thunks => [() => k.cast(dy, s.dtype)],

  sum: ({ dy }: Gradient, s: { shape: Shape }): Thunks => [
    () => k.add(k.zeros(s.shape, dy.dtype, dy.device), dy),
  ],
  meanTokens: ({ dy }: Gradient, s: { shape: Shape; skip: number }): Thunks => [
    () => k.meanTokensBackward(dy, s.shape, s.skip),
  ],
  softmax: ({ dy }: Gradient, s: { y: R }): Thunks => [() => k.softmaxBackward(dy, s.y)],
  logSoftmax: ({ dy }: Gradient, s: { y: R }): Thunks => [
    () => {
      const p = k.unary('exp', s.y);
      const flat = p.reshape([p.size / p.shape.at(-1)!, p.shape.at(-1)!]);
      return k.sub(dy, k.scaleRows(flat, rowSums(dy)).reshape(p.shape));
    },
  ],

  /** c = alpha op(a) op(b). The gradient of a transposed operand is that of the plain one, transposed. */
  matmul: ({ dy }: Gradient, s: { a: R; b: R; transA: boolean; transB: boolean; alpha: number }): Thunks => {
    const { a, b, transA, transB, alpha } = s;
    return [
      () =>
        unbroadcast(
          transA
            ? k.matmul(b, dy, { transA: transB, transB: true, alpha })
            : k.matmul(dy, b, { transB: !transB, alpha }),
          a.shape,
        ),
      () =>
        unbroadcast(
          transB
            ? k.matmul(dy, a, { transA: true, transB: transA, alpha })
            : k.matmul(a, dy, { transA: !transA, alpha }),
          b.shape,
        ),
    ];
  },

  reshape: (g: Gradient): Thunks => [() => g.dy],
  transpose: ({ dy }: Gradient, s: { inverse: number[] }): Thunks => [() => k.transpose(dy, s.inverse)],
  slice: ({ dy }: Gradient, s: { shape: Shape; dim: number; start: number }): Thunks => [
    () => k.sliceBackward(dy, s.shape, s.dim, s.start),
  ],
  concat: ({ dy }: Gradient, s: { dim: number; lengths: number[] }): Thunks => {
    let end = 0;
    return s.lengths.map((length) => {
      const start = end;
      end += length;
      return () => k.slice(dy, s.dim, start, length);
    });
  },
  repeatRows: ({ dy }: Gradient, s: { times: number }): Thunks => [() => k.repeatRowsBackward(dy, s.times)],
  scaleRows: ({ dy }: Gradient, s: { factors: R }): Thunks => [() => k.scaleRows(dy, s.factors)],
  dropout: ({ dy }: Gradient, s: { p: number; key: k.RngKey }): Thunks => [() => k.dropout(dy, s.p, s.key)],
};
