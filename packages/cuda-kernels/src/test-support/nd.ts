/** Host tensors in double, and the way to and from native ones, for comparisons with naive implementations. */
import { expect } from 'vitest';
import * as k from '../index.js';

export type Float = 'f32' | 'bf16';
export const FLOATS: Float[] = ['f32', 'bf16'];

/** A row-major tensor of doubles. */
export interface Nd {
  shape: number[];
  data: Float64Array;
}

export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

export function nd(shape: readonly number[], fill: (i: number) => number = () => 0): Nd {
  return { shape: [...shape], data: Float64Array.from({ length: sizeOf(shape) }, (_, i) => fill(i)) };
}

/** A small generator for test data (not the one under test). */
export function generator(seed: number): () => number {
  let state = (seed + 0x9e3779b9) | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Values in [-scale, scale) that f32 and bf16 hold exactly, so that both see the same input. */
export function random(shape: readonly number[], seed: number, scale = 1): Nd {
  const next = generator(seed);
  return nd(shape, () => fromBf16(toBf16((next() * 2 - 1) * scale)));
}

/** Whole numbers in [0, below). */
export function randomInts(shape: readonly number[], seed: number, below: number): Int32Array {
  const next = generator(seed);
  return Int32Array.from({ length: sizeOf(shape) }, () => Math.floor(next() * below));
}

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

/** Nearest even. */
export function toBf16(x: number): number {
  f32[0] = x;
  const u = u32[0]!;
  if (Number.isNaN(x)) return (u >>> 16) | 0x40;
  return (u + 0x7fff + ((u >>> 16) & 1)) >>> 16;
}

export function fromBf16(bits: number): number {
  u32[0] = bits << 16;
  return f32[0]!;
}

/** To native memory; the gap before it makes unaligned starts, as views into arenas have. */
export function up(x: Nd, dtype: Float = 'f32', gap = 0): k.RawTensor {
  const whole = k.empty([x.data.length + gap + 1], dtype);
  const t = whole.view(gap, x.shape);
  k.write_(t, Float32Array.from(x.data));
  whole.dispose();
  return t;
}

export const ints = (data: Int32Array, shape: readonly number[]): k.RawTensor => k.fromArray(data, shape);

export function down(t: k.RawTensor): Nd {
  const array = k.toArray(t);
  const data =
    t.dtype === 'bf16'
      ? Float64Array.from(array as Uint16Array, fromBf16)
      : Float64Array.from(array as Float32Array, Number);
  return { shape: [...t.shape], data };
}

/** Largest |a - b| over the largest |b| (at least `floor`); NaN must meet NaN. */
export function distance(a: Nd, b: Nd, floor = 0.1): number {
  let worst = 0;
  let scale = floor;
  for (let i = 0; i < b.data.length; i++) {
    const x = a.data[i]!;
    const y = b.data[i]!;
    if (Number.isNaN(x) && Number.isNaN(y)) continue;
    if (x === y) continue;
    worst = Math.max(worst, Number.isNaN(x - y) ? Number.POSITIVE_INFINITY : Math.abs(x - y));
    if (Number.isFinite(y)) scale = Math.max(scale, Math.abs(y));
  }
  return worst / scale;
}

/** The shape is equal and the values are close: 4e-6 of the largest in f32, one rounding (2^-8) in bf16. */
export function expectClose(actual: k.RawTensor, expected: Nd, tolerance?: number): void {
  expect([...actual.shape]).toEqual(expected.shape);
  expect(distance(down(actual), expected)).toBeLessThanOrEqual(
    tolerance ?? (actual.dtype === 'bf16' ? 2 ** -8 : 4e-6),
  );
}

export const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/** Frees everything that the body makes, and checks that nothing else stays behind. */
export function clean(body: () => void): () => void {
  return () => {
    const before = k.memoryStats().liveBuffers;
    k.scope(body);
    expect(k.memoryStats().liveBuffers).toBe(before);
  };
}

/** erf to double precision (series below 3, continued fraction above). */
export function erf(x: number): number {
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a < 3) {
    let term = a;
    let sum = a;
    for (let n = 1; n < 100; n++) {
      term *= (-a * a) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = a;
  for (let n = 60; n > 0; n--) fraction = a + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-a * a) / (fraction * Math.sqrt(Math.PI)));
}

export const gelu = (x: number): number => 0.5 * x * (1 + erf(x / Math.SQRT2));
export const geluSlope = (x: number): number =>
  0.5 * (1 + erf(x / Math.SQRT2)) + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI);
