import { Philox } from '@d2v/core';
import { describe, expect, it } from 'vitest';
import { Resampler } from './resample.js';

const sine = (rate: number, hertz: number, length: number, start = 0) =>
  Float32Array.from({ length }, (_, n) => Math.sin((2 * Math.PI * hertz * (start + n)) / rate));
const whole = (from: number, to: number, input: Float32Array) => {
  const r = Resampler.get(from, to);
  return r.run(input, 0, 0, r.outputLength(input.length));
};
const power = (x: Float32Array) => x.reduce((sum, value) => sum + value ** 2, 0) / x.length;
/** Without the ends, where the input begins and stops at once. */
const middle = (x: Float32Array) => x.subarray(Math.floor(x.length / 4), Math.floor((3 * x.length) / 4));
const decibels = (ratio: number) => 10 * Math.log10(ratio);

const RATES = [
  [44_100, 16_000],
  [48_000, 16_000],
  [8000, 16_000],
  [22_050, 16_000],
  [44_101, 16_000],
  [192_000, 16_000],
] as const;

describe.each(RATES)('%i to %i Hz', (from, to) => {
  const nyquist = Math.min(from, to) / 2;

  it('keeps tones up to 90 % of the band, to 80 dB', () => {
    for (const share of [0.01, 0.3, 0.9]) {
      const hertz = share * nyquist;
      const out = middle(whole(from, to, sine(from, hertz, from / 2)));
      const start = Math.floor(Resampler.get(from, to).outputLength(from / 2) / 4);
      const wanted = sine(to, hertz, out.length, start);
      const error = out.map((value, i) => value - wanted[i]!);
      expect(decibels(power(error) / power(wanted))).toBeLessThan(-80);
    }
  });

  it.runIf(from > to)('lets nothing through from the Nyquist frequency on, to 95 dB', () => {
    for (const hertz of [1.01 * nyquist, 1.3 * nyquist, 0.49 * from]) {
      const out = middle(whole(from, to, sine(from, hertz, from / 2)));
      expect(decibels(power(out) / 0.5)).toBeLessThan(-95);
    }
  });

  it.runIf(from < to)('adds no images above the old Nyquist frequency, to 95 dB', () => {
    const hertz = 0.45 * from;
    const out = middle(whole(from, to, sine(from, hertz, from)));
    const image = sine(to, from - hertz, out.length);
    const other = image.map((_, n) => Math.cos((2 * Math.PI * (from - hertz) * n) / to));
    // Over many periods the tone itself adds up to next to nothing here.
    const part = (basis: Float32Array) =>
      out.reduce((sum, v, i) => sum + v * window(i, out.length) * basis[i]!, 0);
    const scale = out.reduce((sum, _, i) => sum + window(i, out.length), 0) / 2;
    expect(decibels((part(image) ** 2 + part(other) ** 2) / scale ** 2)).toBeLessThan(-95);
  });

  it('keeps a constant', () => {
    const out = middle(whole(from, to, new Float32Array(from / 2).fill(0.7)));
    for (const value of out) expect(value).toBeCloseTo(0.7, 5);
  });

  it('gives the same numbers by range', () => {
    const rng = new Philox(3);
    const input = Float32Array.from({ length: 20_000 }, () => rng.normal());
    const all = whole(from, to, input);
    const r = Resampler.get(from, to);
    for (let i = 0; i < 20; i++) {
      const start = rng.int(all.length - 1);
      const count = 1 + rng.int(all.length - start);
      const range = r.inputRange(start, count);
      const first = Math.max(0, range.start);
      const part = r.run(input.subarray(first, Math.max(first, range.end)), first, start, count);
      expect(part).toEqual(all.slice(start, start + count));
    }
  });
});

/** Blackman-Harris: nothing of a strong tone leaks into a distant one. */
function window(i: number, n: number): number {
  const x = (2 * Math.PI * i) / n;
  return 0.35875 - 0.48829 * Math.cos(x) + 0.14128 * Math.cos(2 * x) - 0.01168 * Math.cos(3 * x);
}
