/** The directions along which features vary most, for showing them as colours. */
import { Philox } from '@d2v/core';

const ITERATIONS = 30;

/**
 * Scores of `rows` feature vectors of `width` values on their first `count` principal components: f32 [rows, count].
 * By orthogonal iteration, which needs no square matrix. Signs are fixed so that the larger tail is positive, and the
 * start is fixed, so the same features give the same scores.
 */
export function principalScores(
  features: Float32Array,
  rows: number,
  width: number,
  count: number,
): Float32Array {
  const centered = subtractMean(features, rows, width);
  const rng = new Philox(1);
  let basis = orthonormal(
    Array.from({ length: count }, () => Float64Array.from({ length: width }, () => rng.normal())),
  );
  for (let i = 0; i < ITERATIONS; i++) {
    const images = basis.map((direction) => applyCovariance(centered, rows, width, direction));
    // Fewer independent directions than asked for: the rest stays where it is.
    basis = orthonormal(images.map((image, k) => (norm(image) > 1e-20 ? image : basis[k]!)));
  }
  const scores = new Float32Array(rows * count);
  for (const [k, direction] of basis.entries()) {
    const column = project(centered, rows, width, direction);
    const skew = column.reduce((sum, value) => sum + value ** 3, 0);
    for (let row = 0; row < rows; row++) scores[row * count + k] = (skew < 0 ? -1 : 1) * column[row]!;
  }
  return scores;
}

function subtractMean(features: Float32Array, rows: number, width: number): Float32Array {
  const mean = new Float64Array(width);
  for (let i = 0; i < rows * width; i++) mean[i % width]! += features[i]! / rows;
  return features.slice(0, rows * width).map((value, i) => value - mean[i % width]!);
}

/** x -> X^T X x */
function applyCovariance(
  data: Float32Array,
  rows: number,
  width: number,
  direction: Float64Array,
): Float64Array {
  const scores = project(data, rows, width, direction);
  const out = new Float64Array(width);
  for (let row = 0; row < rows; row++) {
    const score = scores[row]!;
    for (let i = 0, p = row * width; i < width; i++, p++) out[i]! += score * data[p]!;
  }
  return out;
}

function project(data: Float32Array, rows: number, width: number, direction: Float64Array): Float64Array {
  const scores = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    let sum = 0;
    for (let i = 0, p = row * width; i < width; i++, p++) sum += data[p]! * direction[i]!;
    scores[row] = sum;
  }
  return scores;
}

/** Gram-Schmidt, in order. */
export function orthonormal(vectors: Float64Array[]): Float64Array[] {
  const basis: Float64Array[] = [];
  for (const vector of vectors) {
    let rest = vector;
    for (const other of basis) {
      const share = dot(rest, other);
      rest = rest.map((value, i) => value - share * other[i]!);
    }
    const length = norm(rest) || 1;
    basis.push(rest.map((value) => value / length));
  }
  return basis;
}

const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
const norm = (a: Float64Array) => Math.sqrt(dot(a, a));
