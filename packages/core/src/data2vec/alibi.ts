/**
 * Attention with linear biases (ALiBi), symmetric: the score between two tokens is lowered by a slope per head times
 * their distance. The kernels compute the bias from slopes and coordinates, so no matrix of scores is stored.
 */
import type { MaskInfo } from './masking/index.js';

/**
 * The slopes of the heads: a geometric sequence that starts at 2^(-8/n) for n heads. For n not a power of two, those of
 * the power of two below, then every second one of the power of two above.
 */
export function alibiSlopes(heads: number): number[] {
  const power = 2 ** Math.floor(Math.log2(heads));
  const ratio = 2 ** (-8 / power);
  const slopes = Array.from({ length: power }, (_, i) => ratio ** (i + 1));
  if (power < heads) {
    const above = alibiSlopes(2 * power);
    for (let i = 0; slopes.length < heads; i += 2) slopes.push(above[i]!);
  }
  return slopes;
}

/** Coordinates of tokens, one row of `dims` numbers per token. */
export interface Coordinates {
  dims: number;
  /** `[tokens, dims]` */
  data: Int32Array;
}

/** Coordinates 0, 1, 2, ... of a sequence. */
export function lineCoordinates(tokens: number): Coordinates {
  return { dims: 1, data: Int32Array.from({ length: tokens }, (_, i) => i) };
}

/** Row and column of each cell of a grid, in row-major order. */
export function gridCoordinates(height: number, width: number): Coordinates {
  const data = new Int32Array(height * width * 2);
  for (let i = 0; i < height * width; i++) {
    data[2 * i] = Math.floor(i / width);
    data[2 * i + 1] = i % width;
  }
  return { dims: 2, data };
}

/**
 * Coordinates for each row of the encoder's input: `extra` tokens with -1 (they get no bias), then the kept tokens, or all
 * of them without a mask.
 * @returns `[rows, extra + kept, dims]`
 */
export function rowCoordinates(
  coordinates: Coordinates,
  rows: number,
  extra: number,
  mask: MaskInfo | null,
): Int32Array {
  const { dims, data } = coordinates;
  const tokens = data.length / dims;
  const kept = mask ? mask.keptPerRow : tokens;
  const out = new Int32Array(rows * (extra + kept) * dims).fill(-1);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < kept; i++) {
      const token = mask ? mask.keep[row * kept + i]! : i;
      const at = (row * (extra + kept) + extra + i) * dims;
      for (let d = 0; d < dims; d++) out[at + d] = data[token * dims + d]!;
    }
  }
  return out;
}
