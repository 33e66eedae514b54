import * as k from '@d2v/cuda-kernels';
import { describe, expect, it } from 'vitest';
import { drawInput, hostValues } from '../testing/gradcheck.js';
import { backward, scope } from './autograd.js';
import * as ops from './ops.js';
import { type Tensor, tensor } from './tensor.js';

type Inputs = Record<string, Tensor>;

/** bf16 holds 8 bits: results within a few percent of f32's, in the mean. */
const LIMIT = 0.02;

const ids = (shape: number[], ...data: number[]) =>
  k.fromArray(Int32Array.from(data), shape, { dtype: 'i32' });

const cases: Record<string, { x: number[]; others: Record<string, number[]>; run: (t: Inputs) => Tensor }> = {
  linear: {
    x: [4, 5, 16],
    others: { w: [12, 16], b: [12] },
    run: ({ x, w, b }) => ops.linear(x!, w!, b, { activation: 'gelu' }),
  },
  mlp: {
    x: [4, 5, 16],
    others: { w1: [32, 16], b1: [32], w2: [16, 32], b2: [16] },
    run: ({ x, w1, b1, w2, b2 }) => ops.mlp(x!, w1!, b1!, w2!, b2!),
  },
  layerNorm: {
    x: [4, 5, 16],
    others: { w: [16], b: [16] },
    run: ({ x, w, b }) => ops.layerNorm(x!, { weight: w, bias: b, eps: 1e-5, residual: ops.scale(x!, 0.5) }),
  },
  attention: { x: [2, 6, 48], others: {}, run: ({ x }) => ops.attention(x!, null, { heads: 2 }) },
  conv: {
    x: [2, 6, 6, 8],
    others: { w: [8, 4, 3, 3], b: [8] },
    run: ({ x, w, b }) =>
      ops.conv(x!, w!, b!, {
        stride: [1, 1],
        padding: [
          [1, 1],
          [1, 1],
        ],
        groups: 2,
      }),
  },
  tokens: {
    x: [2, 4, 8],
    others: { prefix: [1, 1, 8] },
    run: ({ x, prefix }) => {
      const kept = ops.gatherTokens(x!, ids([2, 2], 0, 3, 1, 2), prefix);
      return ops.restoreTokens(kept, ids([2, 4], 0, 2, 3, 1, 2, 0, 1, 3), 1, {
        std: 0.01,
        key: { seed: 1, update: 1, stream: 1 },
      });
    },
  },
  elementwise: {
    x: [6, 8],
    others: { p: [8] },
    run: ({ x, p }) => ops.softmax(ops.add(ops.mul(ops.gelu(x!), ops.tanh(x!)), p!)),
  },
};

const distance = (a: Float32Array, b: Float32Array) => {
  let error = 0;
  let norm = 0;
  for (let i = 0; i < b.length; i++) {
    error += (a[i]! - b[i]!) ** 2;
    norm += b[i]! ** 2;
  }
  return Math.sqrt(error / (norm || 1));
};

describe('bf16 activations with f32 parameters', () => {
  for (const [name, c] of Object.entries(cases)) {
    it(name, () => {
      const run = (dtype: 'f32' | 'bf16') =>
        scope(() => {
          const leaf = (key: string, shape: number[]) =>
            tensor(drawInput(shape, key, 1).data, shape, { requiresGrad: true });
          const x = leaf('x', c.x);
          const others = Object.fromEntries(Object.entries(c.others).map(([key, s]) => [key, leaf(key, s)]));
          const y = c.run({ x: ops.cast(x, dtype), ...others });
          expect(y.dtype).toBe(dtype);
          const direction = tensor(drawInput(y.shape, 'direction', 1).data, y.shape);
          const value = hostValues(y);
          backward(ops.sum(ops.mul(ops.cast(y, 'f32'), direction)));
          const result: Record<string, Float32Array> = { value };
          for (const [key, t] of Object.entries({ x, ...others })) {
            expect(t.grad!.dtype).toBe('f32');
            result[key] = Float32Array.from(k.toArray(t.grad!) as Float32Array);
            t.dispose();
          }
          return result;
        });
      const wanted = run('f32');
      const got = run('bf16');
      for (const key of Object.keys(wanted)) {
        expect(distance(got[key]!, wanted[key]!), key).toBeLessThan(LIMIT);
      }
    });
  }
});
