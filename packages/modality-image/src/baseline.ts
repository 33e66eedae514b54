import type { Sample } from '@d2v/core';

const LARGEST_SIDE = 32;

/**
 * What one would compare with before any learning: the normalised pixels themselves, [3 * H * W]. Pictures with sides
 * above 32 px are averaged down to about that first, so that neighbours and probes stay affordable.
 */
export function rawPixels(sample: Sample): Float32Array {
  const { data, shape } = sample.tensors.source!;
  const [channels, height, width] = shape as [number, number, number];
  const step = Math.ceil(Math.max(height, width) / LARGEST_SIDE);
  if (step === 1) return Float32Array.from(data);
  const [rows, columns] = [Math.ceil(height / step), Math.ceil(width / step)];
  const out = new Float32Array(channels * rows * columns);
  for (let c = 0; c < channels; c++) {
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        let sum = 0;
        let count = 0;
        for (let y = row * step; y < Math.min(height, (row + 1) * step); y++) {
          for (let x = column * step; x < Math.min(width, (column + 1) * step); x++, count++) {
            sum += data[(c * height + y) * width + x]!;
          }
        }
        out[(c * rows + row) * columns + column] = sum / count;
      }
    }
  }
  return out;
}
