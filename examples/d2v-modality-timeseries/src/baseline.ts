import type { Sample } from '@d2v/core';

const BINS = 64;

/** Raw values to compare with: each channel averaged into 64 bins over the length of the series. */
export function seriesBaseline(sample: Sample): Float32Array {
  const { data, shape } = sample.tensors.source!;
  const [steps, channels] = shape as [number, number];
  const result = new Float32Array(BINS * channels);
  for (let bin = 0; bin < BINS; bin++) {
    const from = Math.floor((bin * steps) / BINS);
    const to = Math.max(from + 1, Math.floor(((bin + 1) * steps) / BINS));
    for (let c = 0; c < channels; c++) {
      let sum = 0;
      for (let t = from; t < to; t++) sum += data[t * channels + c]!;
      result[bin * channels + c] = sum / (to - from);
    }
  }
  return result;
}
