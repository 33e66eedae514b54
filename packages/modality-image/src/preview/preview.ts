/**
 * A picture for judging features by eye: input images in one row, and below each its patch features, whose first three
 * principal components are shown as red, green and blue. Patches that the network takes for alike have like colours, in
 * all images.
 *
 * Features know where in the picture they are, and in short trainings that is what varies most. So that the colours show
 * what is there and not where, a smooth function of the place (a polynomial of degree 2), fitted to all images, is first
 * subtracted.
 */
import type { HostTensor, PreviewArgs, Sample } from '@d2v/core';
import sharp from 'sharp';
import type { ImageDataConfig } from '../data-config.js';
import type { RawImage } from '../raw-image.js';
import { Canvas, TEXT_HEIGHT } from './canvas.js';
import { orthonormal, principalScores } from './pca.js';

const COLUMNS = 8;
const TILE = 128;
const GAP = 8;
const MARGIN = 24;
const LABELS = ['image', 'features'];
const LABEL_SIZE = 2;
const BACKGROUND = [250, 250, 248] as const;
const INK = [70, 70, 70] as const;

/** Shares of the scores that are shown as fully dark and fully bright: outliers would leave the rest grey. */
const DARK = 0.02;
const BRIGHT = 0.98;

/** Draws the picture. @returns PNG */
export async function previewImages(args: PreviewArgs<ImageDataConfig>): Promise<Uint8Array> {
  const { samples, features, data } = args;
  const inputs = await Promise.all(samples.map((sample) => tile(toPixels(sample, data), 'smooth')));
  const colors = await Promise.all(featureColors(features).map((image) => tile(image, 'nearest')));

  const labelWidth = Math.max(...LABELS.map((label) => Canvas.textWidth(label, LABEL_SIZE)));
  const columns = Math.max(1, Math.min(COLUMNS, samples.length));
  const bands = Math.ceil(samples.length / columns);
  const left = MARGIN + labelWidth + 2 * GAP;
  const band = 2 * TILE + GAP + MARGIN;
  const width = left + columns * (TILE + GAP) - GAP + MARGIN;
  const canvas = new Canvas(width, MARGIN + Math.max(1, bands) * band, BACKGROUND);

  for (let index = 0; index < samples.length; index++) {
    const x = left + (index % columns) * (TILE + GAP);
    const top = MARGIN + Math.floor(index / columns) * band;
    for (const [row, images] of [inputs, colors].entries()) {
      const y = top + row * (TILE + GAP);
      canvas.draw(images[index]!, x, y);
      if (index % columns > 0) continue;
      const label = LABELS[row]!;
      const from = MARGIN + labelWidth - Canvas.textWidth(label, LABEL_SIZE);
      canvas.write(label, from, y + (TILE - TEXT_HEIGHT * LABEL_SIZE) / 2, LABEL_SIZE, INK);
    }
  }
  return canvas.png();
}

/** Undoes the normalisation. */
function toPixels(sample: Sample, { mean, std }: Pick<ImageDataConfig, 'mean' | 'std'>): RawImage {
  const { data, shape } = sample.tensors.source!;
  const [, height, width] = shape as [number, number, number];
  const area = height * width;
  const pixels = new Uint8Array(area * 3);
  for (let i = 0; i < area * 3; i++) {
    const channel = i % 3;
    const value = data[channel * area + Math.floor(i / 3)]! * std[channel]! + mean[channel]!;
    pixels[i] = Math.round(255 * Math.min(1, Math.max(0, value)));
  }
  return { width, height, channels: 3, data: pixels };
}

/** One small picture per sample, a pixel per patch; the colours mean the same in all of them. */
function featureColors(features: readonly HostTensor[]): RawImage[] {
  const width = features[0]?.shape[1] ?? 0;
  const tokens = features.reduce((sum, { shape }) => sum + shape[0]!, 0);
  const all = new Float32Array(tokens * width);
  let at = 0;
  for (const { data } of features) {
    all.set(data as Float32Array, at);
    at += data.length;
  }
  subtractPlaces(all, features);
  const scores = principalScores(all, tokens, width, 3);
  const pixels = new Uint8Array(tokens * 3);
  for (let c = 0; c < 3; c++) {
    const column = Float32Array.from({ length: tokens }, (_, token) => scores[token * 3 + c]!);
    const sorted = column.slice().sort();
    const low = sorted[Math.floor(DARK * (tokens - 1))] ?? 0;
    const high = sorted[Math.ceil(BRIGHT * (tokens - 1))] ?? 1;
    for (let token = 0; token < tokens; token++) {
      const share = high > low ? (column[token]! - low) / (high - low) : 0.5;
      pixels[token * 3 + c] = Math.round(255 * Math.min(1, Math.max(0, share)));
    }
  }
  let first = 0;
  return features.map(({ shape }) => {
    const count = shape[0]!;
    const side = Math.sqrt(count);
    if (!Number.isInteger(side)) throw new Error(`${count} patch features are not those of a square picture`);
    const data = pixels.subarray(first * 3, (first + count) * 3);
    first += count;
    return { width: side, height: side, channels: 3, data };
  });
}

/** Subtracts, in place, what a polynomial in row and column explains of the features of all images. */
function subtractPlaces(all: Float32Array, features: readonly HostTensor[]): void {
  const [tokens = 0, width = 0] = features[0]?.shape ?? [];
  const side = Math.sqrt(tokens);
  if (features.some(({ shape }) => shape[0] !== tokens)) return;
  const places = Array.from({ length: tokens }, (_, t) => [Math.floor(t / side), t % side] as const);
  const powers = [
    [0, 0],
    [1, 0],
    [0, 1],
    [2, 0],
    [1, 1],
    [0, 2],
  ] as const;
  const terms = orthonormal(powers.map(([p, q]) => Float64Array.from(places, ([y, x]) => y ** p * x ** q)));
  for (const term of terms) {
    const share = new Float64Array(width);
    for (let i = 0; i < all.length; i++) {
      share[i % width]! += (term[Math.floor(i / width) % tokens]! * all[i]!) / features.length;
    }
    for (let i = 0; i < all.length; i++) all[i]! -= term[Math.floor(i / width) % tokens]! * share[i % width]!;
  }
}

/** Scales to the size of a tile: visible pixels when a small picture grows, smooth when a large one shrinks. */
async function tile(image: RawImage, enlarge: 'nearest' | 'smooth'): Promise<RawImage> {
  const { width, height, channels } = image;
  const kernel = width > TILE ? 'lanczos3' : enlarge === 'nearest' ? 'nearest' : 'mitchell';
  const data = await sharp(image.data, { raw: { width, height, channels } })
    .resize(TILE, TILE, { fit: 'fill', kernel })
    .raw()
    .toBuffer();
  return { width: TILE, height: TILE, channels: 3, data };
}
