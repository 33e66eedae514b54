/**
 * From a picture to the encoder's input: crop, flip, resize, normalise.
 *
 * Training follows the masked-autoencoder recipe that data2vec 2.0 uses (paper, appendix A): a random crop of
 * `crop_scale` of the area and `crop_ratio` aspect ratio, resized to the input size, then a coin for a mirror image.
 * Evaluation resizes the shorter side to input_size / crop_pct and takes the centre.
 *
 * Everything random comes from the generator that the loader hands in, so a sample depends on (seed, epoch, index) only.
 */
import type { HostTensor, Philox } from '@d2v/core';
import type { RawImage } from './raw-image.js';
import type { Axis, Interpolation } from './resample.js';
import { resampleNormalized } from './resample.js';

/** The keys of the `data` section that decide about the transforms; see `data-config.ts`. */
export interface TransformConfig {
  input_size: number;
  crop_scale: readonly [number, number];
  crop_ratio: readonly [number, number];
  crop_pct: number | null;
  flip: number;
  interpolation: Interpolation;
  mean: readonly number[];
  std: readonly number[];
}

/** A part of a picture in pixels of the (upright) original. */
export interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** What to do with one picture. */
export interface Plan {
  mode: 'train' | 'eval';
  /** Whole pixels in training; fractions in evaluation. */
  box: Box;
  flip: boolean;
}

type Rng = Pick<Philox, 'uniform' | 'int'>;

const TRIES = 10;

/**
 * A random crop: area uniform in `scale` x the whole, aspect ratio log-uniform in `ratio`, place uniform. If ten tries
 * do not fit, the largest central crop whose ratio is allowed.
 */
export function randomCrop(
  width: number,
  height: number,
  scale: readonly [number, number],
  ratio: readonly [number, number],
  rng: Rng,
): Box {
  const area = width * height;
  const [low, high] = [Math.log(ratio[0]), Math.log(ratio[1])];
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const target = area * (scale[0] + (scale[1] - scale[0]) * rng.uniform());
    const aspect = Math.exp(low + (high - low) * rng.uniform());
    const w = Math.round(Math.sqrt(target * aspect));
    const h = Math.round(Math.sqrt(target / aspect));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const top = rng.int(height - h + 1);
    const left = rng.int(width - w + 1);
    return { left, top, width: w, height: h };
  }
  let [w, h] = [width, height];
  if (width / height < ratio[0]) h = Math.min(height, Math.max(1, Math.round(width / ratio[0])));
  else if (width / height > ratio[1]) w = Math.min(width, Math.max(1, Math.round(height * ratio[1])));
  return { left: Math.floor((width - w) / 2), top: Math.floor((height - h) / 2), width: w, height: h };
}

/** Share of the resized shorter side that evaluation sees: the usual 224 of 256, and all of it above 224 px. */
export function cropShare(config: Pick<TransformConfig, 'input_size' | 'crop_pct'>): number {
  return config.crop_pct ?? (config.input_size <= 224 ? 224 / 256 : 1);
}

/** Size of the whole picture after evaluation's resize: the shorter side is input_size / crop_pct. */
export function resizedSize(
  width: number,
  height: number,
  config: TransformConfig,
): { width: number; height: number } {
  const size = Math.max(config.input_size, Math.trunc(config.input_size / cropShare(config)));
  return width <= height
    ? { width: size, height: Math.max(size, Math.trunc((size * height) / width)) }
    : { width: Math.max(size, Math.trunc((size * width) / height)), height: size };
}

/** Evaluation's crop, as the part of the original that the centre of the resized picture shows. */
export function centerCrop(width: number, height: number, config: TransformConfig): Box {
  const resized = resizedSize(width, height, config);
  const size = config.input_size;
  const [sx, sy] = [width / resized.width, height / resized.height];
  return {
    left: Math.round((resized.width - size) / 2) * sx,
    top: Math.round((resized.height - size) / 2) * sy,
    width: size * sx,
    height: size * sy,
  };
}

/** Decides crop and flip for a picture of this size. Evaluation draws nothing from `rng`. */
export function planTransform(
  width: number,
  height: number,
  config: TransformConfig,
  rng: Rng,
  mode: 'train' | 'eval',
): Plan {
  if (mode === 'eval') return { mode, box: centerCrop(width, height, config), flip: false };
  const box = randomCrop(width, height, config.crop_scale, config.crop_ratio, rng);
  return { mode, box, flip: rng.uniform() < config.flip };
}

/** Applies a plan to a decoded picture: f32 [3, input_size, input_size]. */
export function applyPlan(image: RawImage, plan: Plan, config: TransformConfig): HostTensor {
  const { box } = plan;
  // In training the crop comes first and the kernel does not look beyond it; in evaluation the resize does.
  const train = plan.mode === 'train';
  const size = config.input_size;
  const columns: Axis = {
    lo: train ? box.left : 0,
    hi: train ? box.left + box.width : image.width,
    from: box.left,
    to: box.left + box.width,
    size,
  };
  const rows: Axis = {
    lo: train ? box.top : 0,
    hi: train ? box.top + box.height : image.height,
    from: box.top,
    to: box.top + box.height,
    size,
  };
  return {
    data: resampleNormalized(image, columns, rows, { ...config, flip: plan.flip }),
    shape: [3, size, size],
  };
}

/**
 * Normalises a picture that already has its final size: f32 [3, H, W]. Three channels are expected (decode gives them).
 */
export function normalize(
  image: RawImage,
  flip: boolean,
  config: Pick<TransformConfig, 'mean' | 'std'>,
): HostTensor {
  const { width, height, channels, data } = image;
  const area = width * height;
  const out = new Float32Array(3 * area);
  for (let c = 0; c < 3; c++) {
    const gain = 1 / (255 * (config.std[c] as number));
    const shift = (config.mean[c] as number) / (config.std[c] as number);
    const table = Float32Array.from({ length: 256 }, (_, value) => value * gain - shift);
    const channel = channels === 1 ? 0 : c;
    for (let y = 0; y < height; y++) {
      let p = y * width * channels + channel;
      let q = c * area + y * width + (flip ? width - 1 : 0);
      const step = flip ? -1 : 1;
      for (let x = 0; x < width; x++, p += channels, q += step) out[q] = table[data[p] as number] as number;
    }
  }
  return { data: out, shape: [3, height, width] };
}
