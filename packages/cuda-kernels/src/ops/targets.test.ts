import { describe, expect, test } from 'vitest';
import * as k from '../index.js';
import {
  clean,
  expectClose,
  FLOATS,
  type Float,
  ints,
  type Nd,
  nd,
  random,
  randomInts,
  up,
} from '../test-support/nd.js';

const EPS = 1e-5;

/** Groups of element indices that share a mean and variance. */
function groups(norm: k.TargetNorm, b: number, t: number, d: number): number[][] {
  const all = Array.from({ length: b * t * d }, (_, i) => i);
  const name = (i: number): number => {
    if (norm === 'layer') return Math.floor(i / d);
    return norm === 'batch' ? i % d : Math.floor(i / d / t) * d + (i % d);
  };
  const map = new Map<number, number[]>();
  for (const i of all) {
    const list = map.get(name(i));
    if (list) list.push(i);
    else map.set(name(i), [i]);
  }
  return [...map.values()];
}

function normalised(x: Nd, norm: k.TargetNorm): Nd {
  if (norm === 'none') return x;
  const out = nd(x.shape);
  for (const group of groups(norm, ...(x.shape as [number, number, number]))) {
    const mean = group.reduce((s, i) => s + x.data[i]!, 0) / group.length;
    const variance = group.reduce((s, i) => s + (x.data[i]! - mean) ** 2, 0) / group.length;
    for (const i of group) out.data[i] = (x.data[i]! - mean) / Math.sqrt(variance + EPS);
  }
  return out;
}

const SIZES = [
  [1, 2, 3],
  [2, 17, 33],
  [3, 64, 130],
  [2, 49, 300],
] as const;

describe.each(FLOATS)('targets in %s', (dtype: Float) => {
  test.each(SIZES)('accumulate %i x %i x %i', (b, t, d) =>
    clean(() => {
      for (const norm of ['none', 'layer', 'instance', 'batch'] as const) {
        for (const skip of [0, 2]) {
          const layer = random([b, skip + t, d], 1, 2);
          const kept = nd([b, t, d], (i) => {
            const sample = Math.floor(i / (t * d));
            return layer.data[(sample * (skip + t) + skip) * d + (i % (t * d))]!;
          });
          const start = random([b, t, d], 2);
          const acc = up(start, 'f32', 1);
          k.accumulateTarget_(acc, up(layer, dtype, 3), { skip, norm, scale: 0.25, eps: EPS });
          const added = normalised(kept, norm);
          expectClose(
            acc,
            nd([b, t, d], (i) => start.data[i]! + 0.25 * added.data[i]!),
            1e-5,
          );
        }
      }
      const x = random([b, t, d], 3);
      expectClose(
        k.instanceNorm(up(x, dtype), EPS),
        normalised(x, 'instance'),
        dtype === 'f32' ? 1e-5 : undefined,
      );
    })(),
  );

  test.each(SIZES)('masked loss %i x %i x %i', (b, t, d) =>
    clean(() => {
      const copies = 3;
      const n = Math.ceil(t / 2);
      const ids = randomInts([b * copies, n], 1, t);
      const pred = random([b * copies, n, d], 2, 2);
      const target = random([b, t, d], 3, 2);
      const [scale, gradScale] = [0.37, 0.5];
      for (const beta of [0, 0.4]) {
        let loss = 0;
        const grad = nd(pred.shape, (i) => {
          const row = Math.floor(i / d / n);
          const y = target.data[(Math.floor(row / copies) * t + ids[Math.floor(i / d)]!) * d + (i % d)]!;
          const diff = pred.data[i]! - y;
          const inside = Math.abs(diff) < beta;
          if (beta === 0) loss += diff * diff;
          else loss += inside ? (0.5 * diff * diff) / beta : Math.abs(diff) - 0.5 * beta;
          if (beta === 0) return 2 * diff * scale * gradScale;
          return (inside ? diff / beta : Math.sign(diff)) * scale * gradScale;
        });
        const result = k.maskedLoss(up(pred, dtype, 1), up(target, 'f32', 1), ints(ids, [b * copies, n]), {
          beta,
          scale,
          gradScale,
        });
        expect(Math.abs(k.item(result.loss) / (loss * scale) - 1)).toBeLessThan(1e-6);
        expectClose(result.dpred, grad);
      }
    })(),
  );

  test(
    'feature std',
    clean(() => {
      const [b, t, d] = [2, 9, 70];
      const x = random([b, t, d], 1, 2);
      const std = (rows: number[]): number => {
        let total = 0;
        for (let c = 0; c < d; c++) {
          const values = rows.map((r) => x.data[r * d + c]!);
          const mean = values.reduce((s, v) => s + v, 0) / values.length;
          total += Math.sqrt(values.reduce((s, v) => s + (v - mean) ** 2, 0) / (values.length - 1) + 1e-6);
        }
        return total / d;
      };
      const all = Array.from({ length: b * t }, (_, i) => i);
      expect(k.item(k.featureStd(up(x, dtype)))).toBeCloseTo(std(all), 10);
      expect(k.item(k.featureStd(up({ ...x, shape: [b * t, d] }, dtype)))).toBeCloseTo(std(all), 10);
      const ids = randomInts([4, 3], 2, t);
      const chosen = [...ids].map((id, i) => Math.floor(i / 6) * t + id);
      expect(k.item(k.featureStd(up(x, dtype), ints(ids, [4, 3])))).toBeCloseTo(std(chosen), 10);
      expect(() => k.featureStd(k.zeros([1, 4]))).toThrow('featureStd: needs at least 2 rows');
    }),
  );

  test.each([
    [1, 2],
    [5, 10],
    [33, 1000],
    [7, 17],
  ] as const)('cross entropy %i x %i', (n, c) =>
    clean(() => {
      const logits = random([n, c], 1, 6);
      const labels = randomInts([n], 2, c);
      labels[0] = -100;
      for (const [smoothing, ignore] of [
        [0, -100],
        [0.1, -100],
        [0.1, undefined],
      ] as const) {
        if (ignore === undefined) labels[0] = 0;
        let loss = 0;
        let count = 0;
        const grad = nd([n, c]);
        for (let r = 0; r < n; r++) {
          if (labels[r] === ignore) continue;
          count++;
          const row = logits.data.subarray(r * c, (r + 1) * c);
          const most = Math.max(...row);
          const logSum = most + Math.log(row.reduce((s, v) => s + Math.exp(v - most), 0));
          for (let j = 0; j < c; j++) {
            const wanted = smoothing / c + (j === labels[r] ? 1 - smoothing : 0);
            loss -= wanted * (row[j]! - logSum);
            grad.data[r * c + j] = 0.5 * (Math.exp(row[j]! - logSum) - wanted);
          }
        }
        const result = k.crossEntropy(up(logits, dtype, 1), ints(labels, [n]), {
          smoothing,
          ignore,
          gradScale: 0.5,
        });
        expect(k.item(result.count)).toBe(count);
        expect(Math.abs(k.item(result.loss) - loss)).toBeLessThanOrEqual(1e-6 * Math.max(1, loss));
        expectClose(result.dlogits, grad);
      }
    })(),
  );
});
