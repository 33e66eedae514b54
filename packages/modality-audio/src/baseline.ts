/** What one would compare with before any learning: mean and standard deviation of the log-mel spectrum. */
import type { Sample } from '@d2v/core';

const RATE = 16_000;
const WINDOW = 400;
const HOP = 160;
const SIZE = 512;
const BANDS = 40;
const FLOOR = 1e-6;

const HANN = Float64Array.from(
  { length: WINDOW },
  (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / WINDOW),
);

/**
 * Of frames of 25 ms every 10 ms (at 16 kHz): the mean over time of each of 40 bands, then their standard deviations: [80].
 */
export function logMelStatistics(sample: Sample): Float32Array {
  const wave = sample.tensors.source!.data;
  const frames = Math.max(1, Math.floor((wave.length - WINDOW) / HOP) + 1);
  const sums = new Float64Array(2 * BANDS);
  for (let frame = 0; frame < frames; frame++) {
    const power = powerSpectrum(wave, frame * HOP);
    for (const [band, weights] of MEL.entries()) {
      let energy = FLOOR;
      for (const [bin, weight] of weights) energy += power[bin]! * weight;
      const value = Math.log(energy);
      sums[band]! += value / frames;
      sums[BANDS + band]! += value ** 2 / frames;
    }
  }
  return Float32Array.from(sums, (value, i) =>
    i < BANDS ? value : Math.sqrt(Math.max(0, value - sums[i - BANDS]! ** 2)),
  );
}

/** Triangles of equal height and width on the mel scale: per band its bins and their weights. */
const MEL: [bin: number, weight: number][][] = (() => {
  const mel = (hertz: number) => 2595 * Math.log10(1 + hertz / 700);
  const step = mel(RATE / 2) / (BANDS + 1);
  return Array.from({ length: BANDS }, (_, band) => {
    const weights: [number, number][] = [];
    for (let bin = 1; bin < SIZE / 2; bin++) {
      const weight = 1 - Math.abs(mel((bin * RATE) / SIZE) / step - (band + 1));
      if (weight > 0) weights.push([bin, weight]);
    }
    return weights;
  });
})();

/** Squared magnitudes of the first half of the spectrum of a windowed frame. */
function powerSpectrum(wave: ArrayLike<number>, start: number): Float64Array {
  const re = new Float64Array(SIZE);
  const im = new Float64Array(SIZE);
  for (let i = 0; i < WINDOW; i++) re[i] = (wave[start + i] ?? 0) * HANN[i]!;
  fft(re, im);
  return Float64Array.from({ length: SIZE / 2 }, (_, bin) => (re[bin]! ** 2 + im[bin]! ** 2) / SIZE);
}

/** In place; the length is a power of two. */
function fft(re: Float64Array, im: Float64Array): void {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j]!, re[i]!];
      [im[i], im[j]] = [im[j]!, im[i]!];
    }
  }
  for (let size = 2; size <= n; size <<= 1) {
    const half = size >> 1;
    for (let k = 0; k < half; k++) {
      const [c, s] = [Math.cos((Math.PI * k) / half), -Math.sin((Math.PI * k) / half)];
      for (let a = k; a < n; a += size) {
        const b = a + half;
        const [x, y] = [re[b]! * c - im[b]! * s, re[b]! * s + im[b]! * c];
        re[b] = re[a]! - x;
        im[b] = im[a]! - y;
        re[a]! += x;
        im[a]! += y;
      }
    }
  }
}
