import { describe, expect, test } from 'vitest';
import * as k from '../index.js';
import {
  clean,
  expectClose,
  FLOATS,
  type Float,
  gelu,
  geluSlope,
  type Nd,
  nd,
  random,
  up,
} from '../test-support/nd.js';

const EPS = 1e-5;

interface Statistics {
  mean: Float64Array;
  rstd: Float64Array;
}

function statistics(s: Nd, eps = EPS): Statistics {
  const [rows, d] = s.shape as [number, number];
  const mean = new Float64Array(rows);
  const rstd = new Float64Array(rows);
  for (let r = 0; r < rows; r++) {
    const row = s.data.subarray(r * d, (r + 1) * d);
    mean[r] = row.reduce((a, b) => a + b, 0) / d;
    const variance = row.reduce((a, b) => a + (b - mean[r]!) ** 2, 0) / d;
    rstd[r] = 1 / Math.sqrt(variance + eps);
  }
  return { mean, rstd };
}

const SIZES = [
  [1, 8],
  [3, 1],
  [5, 7],
  [17, 33],
  [70, 192],
  [9, 768],
  [300, 20],
] as const;

describe.each(FLOATS)('layer norm in %s', (dtype: Float) => {
  test.each(SIZES)('%i rows of %i', (rows, d) =>
    clean(() => {
      const x = random([rows, d], 1, 2);
      const residual = random([rows, d], 2, 2);
      const after = random([rows, d], 3);
      const w = random([d], 4);
      const b = random([d], 5);
      const [tx, tr, ta] = [up(x, dtype, 1), up(residual, dtype), up(after, dtype, 3)];
      const [weight, bias] = [up(w, dtype), up(b, dtype, 1)];

      const s = statistics(x);
      const plain = nd([rows, d], (i) => {
        const r = Math.floor(i / d);
        return (x.data[i]! - s.mean[r]!) * s.rstd[r]!;
      });
      const bare = k.layerNorm(tx, { eps: EPS });
      const loose = d === 1 ? 1e-3 : undefined; // 0 times 1 / sqrt(eps)
      expectClose(bare.y, plain, loose);
      expectClose(bare.sum, x);
      expectClose(
        bare.mean,
        nd([rows], (r) => s.mean[r]!),
      );
      expectClose(
        bare.rstd,
        nd([rows], (r) => s.rstd[r]!),
        1e-5,
      );

      const total = nd([rows, d], (i) => x.data[i]! + residual.data[i]!);
      const t = statistics(total);
      const affine = nd([rows, d], (i) => {
        const r = Math.floor(i / d);
        return (total.data[i]! - t.mean[r]!) * t.rstd[r]! * w.data[i % d]! + b.data[i % d]!;
      });
      const full = k.layerNorm(tx, { weight, bias, eps: EPS, residual: tr, activation: 'gelu', after: ta });
      expectClose(full.sum, total);
      expectClose(
        full.y,
        nd([rows, d], (i) => gelu(affine.data[i]!) + after.data[i]!),
        loose ?? (dtype === 'f32' ? 4e-6 : undefined),
      );
    })(),
  );

  test.each(SIZES)('gradients: %i rows of %i', (rows, d) =>
    clean(() => {
      for (const activation of ['none', 'gelu'] as const) {
        for (const affine of [true, false]) {
          const s = random([rows, d], 1, 2);
          const dy = random([rows, d], 2);
          const w = affine ? random([d], 3) : nd([d], () => 1);
          const b = affine ? random([d], 4) : nd([d]);
          const { mean, rstd } = statistics(s);
          const dw = new Float64Array(d);
          const db = new Float64Array(d);
          const expected = nd([rows, d]);
          for (let r = 0; r < rows; r++) {
            const at = (c: number): number => r * d + c;
            const hat = (c: number): number => (s.data[at(c)]! - mean[r]!) * rstd[r]!;
            const g = (c: number): number => {
              const slope = activation === 'gelu' ? geluSlope(hat(c) * w.data[c]! + b.data[c]!) : 1;
              return dy.data[at(c)]! * slope;
            };
            let first = 0;
            let second = 0;
            for (let c = 0; c < d; c++) {
              dw[c]! += g(c) * hat(c);
              db[c]! += g(c);
              first += g(c) * w.data[c]!;
              second += g(c) * w.data[c]! * hat(c);
            }
            for (let c = 0; c < d; c++) {
              expected.data[at(c)] = rstd[r]! * (g(c) * w.data[c]! - first / d - (hat(c) * second) / d);
            }
          }
          const ts = up(s, dtype, 1);
          const stats = k.layerNorm(ts, { eps: EPS });
          const start = random([d], 6);
          const [dWeight, dBias] = [up(start, 'f32', 1), up(start)];
          const options = affine ? { weight: up(w, dtype), bias: up(b, dtype), dWeight, dBias } : {};
          const dx = k.layerNormBackward(up(dy, dtype, 2), ts, stats.mean, stats.rstd, {
            ...options,
            activation,
          });
          expectClose(dx, expected, d === 1 ? 2 : dtype === 'f32' ? 2e-5 : undefined);
          if (!affine) continue;
          expectClose(
            dWeight,
            nd([d], (c) => dw[c]! + start.data[c]!),
            1e-5,
          );
          expectClose(
            dBias,
            nd([d], (c) => db[c]! + start.data[c]!),
            1e-5,
          );
        }
      }
    })(),
  );
});

test(
  'rows far from zero lose little',
  clean(() => {
    const x = nd([4, 64], (i) => 1000 + (i % 7));
    const { mean, rstd } = statistics(x);
    const y = k.layerNorm(up(x), { eps: EPS }).y;
    expectClose(
      y,
      nd([4, 64], (i) => (x.data[i]! - mean[Math.floor(i / 64)]!) * rstd[Math.floor(i / 64)]!),
      1e-4,
    );
  }),
);

test(
  'without residual `sum` is x under a new handle',
  clean(() => {
    const x = up(random([2, 4], 1));
    const { sum } = k.layerNorm(x, { eps: EPS });
    k.fill_(x, 3);
    expect(k.item(sum.view(0, []))).toBe(3);
    x.dispose();
    expect(sum.disposed).toBe(false);
  }),
);
