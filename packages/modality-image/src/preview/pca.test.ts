import { Philox } from '@d2v/core';
import { describe, expect, it } from 'vitest';
import { principalScores } from './pca.js';

/** Rows with variance 9, 4 and 1 along three orthogonal directions of `width` dimensions, plus an offset. */
function cloud(rows: number, width: number) {
  const rng = new Philox(7);
  const hidden = Array.from(
    { length: rows },
    () => [3 * rng.normal(), 2 * rng.normal(), rng.normal()] as const,
  );
  const features = new Float32Array(rows * width);
  for (const [row, [a, b, c]] of hidden.entries()) {
    for (let i = 0; i < width; i++) features[row * width + i] = 5;
    features[row * width]! += a;
    features[row * width + 1]! += b;
    features[row * width + 2]! += c;
  }
  return { hidden, features };
}
const column = (scores: Float32Array, k: number) =>
  Float64Array.from({ length: scores.length / 3 }, (_, i) => scores[i * 3 + k]!);
function correlation(a: Float64Array, b: Float64Array): number {
  const mean = (v: Float64Array) => v.reduce((s, x) => s + x, 0) / v.length;
  const [ma, mb] = [mean(a), mean(b)];
  const sum = (f: (i: number) => number) => a.reduce((s, _, i) => s + f(i), 0);
  const cross = sum((i) => (a[i]! - ma) * (b[i]! - mb));
  return cross / Math.sqrt(sum((i) => (a[i]! - ma) ** 2) * sum((i) => (b[i]! - mb) ** 2));
}

describe('principalScores', () => {
  it('finds the directions of largest variance, in order', () => {
    const { hidden, features } = cloud(2000, 12);
    const scores = principalScores(features, 2000, 12, 3);
    for (let k = 0; k < 3; k++) {
      const truth = Float64Array.from(hidden, (values) => values[k]!);
      expect(Math.abs(correlation(column(scores, k), truth))).toBeGreaterThan(0.99);
    }
  });

  it('is the same each time', () => {
    const { features } = cloud(100, 8);
    expect(principalScores(features, 100, 8, 3)).toEqual(principalScores(features, 100, 8, 3));
  });

  it('survives features that are all alike, or fewer than the components', () => {
    for (const [rows, width] of [
      [10, 6],
      [1, 6],
      [4, 2],
    ] as const) {
      const scores = principalScores(new Float32Array(rows * width).fill(2), rows, width, 3);
      expect(scores).toHaveLength(rows * 3);
      expect(scores.every((value) => Math.abs(value) < 1e-6)).toBe(true);
    }
  });
});
