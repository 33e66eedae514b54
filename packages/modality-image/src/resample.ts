/**
 * Crop and resize for small pictures that are already decoded. One call of an image library costs more than a
 * millisecond, however small the picture; this costs a few dozen microseconds and writes the normalised tensor at once.
 *
 * The filter is the antialiased cubic (a = -1/2) that the reference's data pipeline uses: when shrinking, the kernel
 * is widened by the factor. Unlike there, intermediate values are not rounded to 8 bits; the result is clamped to 0..255.
 */
import type { RawImage } from './raw-image.js';

/** Where an output axis of `size` samples reads from: `from`..`to` of the source, seeing only `lo`..`hi` of it. */
export interface Axis {
  /** First and one-past-last source position the kernel may read (whole numbers). */
  lo: number;
  hi: number;
  /** The interval that is mapped to the output; fractions are allowed. */
  from: number;
  to: number;
  /** Output samples. */
  size: number;
}

export type Interpolation = 'bicubic' | 'bilinear' | 'nearest';

/** Per output sample: the first source position and `taps` weights (zero-padded) that sum to 1. */
interface Weights {
  first: Int32Array;
  taps: number;
  values: Float32Array;
}

const cubic = (x: number): number => {
  const t = Math.abs(x);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  if (t < 2) return ((-0.5 * t + 2.5) * t - 4) * t + 2;
  return 0;
};
const triangle = (x: number): number => Math.max(0, 1 - Math.abs(x));

const kernels = { bicubic: { radius: 2, at: cubic }, bilinear: { radius: 1, at: triangle } };

function computeWeights(axis: Axis, interpolation: Interpolation): Weights {
  const { lo, hi, from, size } = axis;
  const scale = (axis.to - from) / size;
  if (interpolation === 'nearest') {
    const first = new Int32Array(size);
    for (let i = 0; i < size; i++) {
      first[i] = Math.min(hi - 1, Math.max(lo, Math.floor(from + (i + 0.5) * scale)));
    }
    return { first, taps: 1, values: new Float32Array(size).fill(1) };
  }
  const { radius, at } = kernels[interpolation];
  const widen = Math.max(1, scale);
  const reach = radius * widen;
  const span = (i: number): [center: number, start: number, end: number] => {
    const center = from + (i + 0.5) * scale;
    const start = Math.max(lo, Math.trunc(center - reach + 0.5));
    return [center, start, Math.min(hi, Math.trunc(center + reach + 0.5))];
  };
  let taps = 1;
  for (let i = 0; i < size; i++) {
    const [, start, end] = span(i);
    taps = Math.max(taps, end - start);
  }
  const first = new Int32Array(size);
  const values = new Float32Array(size * taps);
  for (let i = 0; i < size; i++) {
    const [center, start, end] = span(i);
    let sum = 0;
    for (let x = start; x < end; x++) sum += at((x - center + 0.5) / widen);
    // The window may not run past `hi`, also where its last weights are zero.
    const base = Math.min(start, hi - taps);
    for (let x = start; x < end; x++) values[i * taps + x - base] = at((x - center + 0.5) / widen) / sum;
    first[i] = base;
  }
  return { first, taps, values };
}

/** Small pictures have few different crops, so their weights are kept; larger ones take long anyway. */
const cache = new Map<string, Weights>();
const CACHE_LIMIT = 4096;

function weightsOf(axis: Axis, interpolation: Interpolation): Weights {
  // Relative to `lo`, a crop's weights do not depend on where it lies.
  const key = `${interpolation} ${axis.hi - axis.lo} ${axis.from - axis.lo} ${axis.to - axis.lo} ${axis.size}`;
  let weights = cache.get(key);
  if (!weights) {
    const { lo } = axis;
    weights = computeWeights(
      { lo: 0, hi: axis.hi - lo, from: axis.from - lo, to: axis.to - lo, size: axis.size },
      interpolation,
    );
    if (cache.size >= CACHE_LIMIT) cache.clear();
    cache.set(key, weights);
  }
  return weights;
}

let scratch = new Float32Array(0);

/**
 * Resamples a part of `image` and normalises it: out[c, y, x] = (value / 255 - mean[c]) / std[c], with three channels
 * (grey is repeated), f32 [3, rows.size, columns.size].
 * @param flip mirror left and right
 */
export function resampleNormalized(
  image: RawImage,
  columns: Axis,
  rows: Axis,
  options: { flip: boolean; mean: readonly number[]; std: readonly number[]; interpolation: Interpolation },
): Float32Array {
  const { channels, data, width } = image;
  const horizontal = weightsOf(columns, options.interpolation);
  const vertical = weightsOf(rows, options.interpolation);
  const outWidth = columns.size;
  const outHeight = rows.size;
  const height = rows.hi - rows.lo;
  const plane = height * outWidth;
  if (scratch.length < plane * channels) scratch = new Float32Array(plane * channels);
  const middle = scratch;

  const pass = channels === 1 ? resampleGreyRow : resampleColorRow;
  for (let y = 0; y < height; y++) {
    const line = ((rows.lo + y) * width + columns.lo) * channels;
    pass(data, line, horizontal, middle, y * outWidth, plane, options.flip);
  }

  const out = new Float32Array(3 * outHeight * outWidth);
  const area = outHeight * outWidth;
  for (let c = 0; c < channels; c++) {
    const gain = 1 / (255 * (options.std[c] as number));
    const shift = (options.mean[c] as number) / (options.std[c] as number);
    resampleColumns(middle.subarray(c * plane), vertical, out.subarray(c * area), outWidth, gain, shift);
  }
  if (channels === 1) spreadGrey(out, area, options.mean, options.std);
  return out;
}

/** All columns of a plane of rows; the result is clamped to 0..255 and becomes value * gain - shift. */
function resampleColumns(
  rows: Float32Array,
  weights: Weights,
  out: Float32Array,
  width: number,
  gain: number,
  shift: number,
): void {
  const { first, taps, values } = weights;
  const line = new Float64Array(width);
  for (let y = 0; y < first.length; y++) {
    line.fill(0);
    let p = (first[y] as number) * width;
    for (let k = y * taps; k < (y + 1) * taps; k++) {
      const weight = values[k] as number;
      for (let x = 0; x < width; x++) line[x] = (line[x] as number) + weight * (rows[p++] as number);
    }
    const base = y * width;
    for (let x = 0; x < width; x++) {
      const value = line[x] as number;
      out[base + x] = Math.min(255, Math.max(0, value)) * gain - shift;
    }
  }
}

/** One row of a grey picture: `data` from `line` on, to `out` from `target` on. */
function resampleGreyRow(
  data: Uint8Array,
  line: number,
  weights: Weights,
  out: Float32Array,
  target: number,
  _plane: number,
  flip: boolean,
): void {
  const { first, taps, values } = weights;
  const size = first.length;
  let w = 0;
  for (let x = 0; x < size; x++) {
    let p = line + (first[x] as number);
    let sum = 0;
    for (const end = w + taps; w < end; w++) sum += (values[w] as number) * (data[p++] as number);
    out[target + (flip ? size - 1 - x : x)] = sum;
  }
}

/** One row of a colour picture; the channels of `out` lie `plane` apart. */
function resampleColorRow(
  data: Uint8Array,
  line: number,
  weights: Weights,
  out: Float32Array,
  target: number,
  plane: number,
  flip: boolean,
): void {
  const { first, taps, values } = weights;
  const size = first.length;
  let w = 0;
  for (let x = 0; x < size; x++) {
    let p = line + 3 * (first[x] as number);
    let r = 0;
    let g = 0;
    let b = 0;
    for (const end = w + taps; w < end; w++, p += 3) {
      const weight = values[w] as number;
      r += weight * (data[p] as number);
      g += weight * (data[p + 1] as number);
      b += weight * (data[p + 2] as number);
    }
    const at = target + (flip ? size - 1 - x : x);
    out[at] = r;
    out[at + plane] = g;
    out[at + 2 * plane] = b;
  }
}

/** Fills the second and third plane from the first, each with its own mean and standard deviation. */
function spreadGrey(out: Float32Array, area: number, mean: readonly number[], std: readonly number[]): void {
  const [mean0, mean1, mean2] = mean as [number, number, number];
  const [std0, std1, std2] = std as [number, number, number];
  for (let i = 0; i < area; i++) {
    const value = (out[i] as number) * std0 + mean0;
    out[area + i] = (value - mean1) / std1;
    out[2 * area + i] = (value - mean2) / std2;
  }
}
