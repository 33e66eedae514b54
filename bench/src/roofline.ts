/**
 * What one update costs a GPU at least: for each part, the arithmetic over the rate of its tensor cores, or the bytes
 * that cannot stay on the chip over the rate of its memory, whichever is longer, added up. What is measured is compared
 * with it (docs/cuda.md).
 *
 * Counted is how this backend works: activations and copies of the weights in bf16, gradients of weights, moments and
 * targets in f32, attention without a matrix of scores in memory, GELU as part of the matrix products (decision 0019).
 */
import type { UpdateShape } from './flops.js';

/** A GPU on paper: dense bf16 products with f32 sums, and device memory. */
export interface Gpu {
  name: string;
  flopsPerSecond: number;
  bytesPerSecond: number;
}

export const GPUS: Record<string, Gpu> = {
  a100: { name: 'A100 SXM 80 GB', flopsPerSecond: 312e12, bytesPerSecond: 2.04e12 },
  h100: { name: 'H100 SXM', flopsPerSecond: 989e12, bytesPerSecond: 3.35e12 },
  h200: { name: 'H200 SXM', flopsPerSecond: 989e12, bytesPerSecond: 4.8e12 },
};

/** One kind of work of an update. */
export interface Part {
  name: string;
  flops: number;
  bytes: number;
}

/** What the shape of an update does not say about its model. */
export interface ModelSize {
  /** Trainable numbers, and those of them that the teacher averages. */
  parameters: number;
  averaged: number;
}

const BF16 = 2;
const F32 = 4;

/** The parts of an update, forward and backward of the student and forward of the teacher. */
export function updateParts(shape: UpdateShape, { parameters, averaged }: ModelSize): Part[] {
  const { samples, clones, tokens, kept, extra, width, mlpRatio } = shape;
  const rows = samples * clones;
  const hidden = mlpRatio * width;
  const student = { tokens: rows * (kept + extra), length: kept + extra, blocks: shape.studentBlocks };
  const teacher = { tokens: samples * (tokens + extra), length: tokens + extra, blocks: shape.teacherBlocks };
  const decoded = rows * tokens;
  const masked = rows * (tokens - kept);

  // Outputs and inputs of the four linear layers of a block.
  const layers = [
    [3 * width, width],
    [width, width],
    [hidden, width],
    [width, hidden],
  ] as const;
  const linear = (n: number, backward: boolean): Part => {
    const part = { name: 'linear layers', flops: 0, bytes: 0 };
    for (const [m, k] of layers) {
      const flops = 2 * n * m * k;
      const once = BF16 * (n * (m + k) + m * k);
      part.flops += backward ? 2 * flops : flops;
      // Backward: to the input as forward; to the weight it reads both sides and adds to f32.
      part.bytes += backward ? once + BF16 * n * (m + k) + 2 * F32 * m * k : once;
    }
    return part;
  };
  const attention = (n: number, length: number, backward: boolean): Part => ({
    name: 'attention',
    flops: n * length * width * (backward ? 10 : 4),
    bytes: BF16 * n * width * (backward ? 8 : 4),
  });
  // Two norms with their residuals: read two and write two; backward reads two and writes one, which is added to.
  const norms = (n: number, backward: boolean): Part => ({
    name: 'norms and residuals',
    flops: 0,
    bytes: 2 * BF16 * n * width * (backward ? 5 : 4),
  });
  // Part of the products: what backward needs of it is written once and read once.
  const gelu = (n: number): Part => ({ name: 'GELU', flops: 0, bytes: BF16 * n * hidden });

  const parts: Part[] = [];
  const add = (name: string, blocks: number, list: Part[]) => {
    for (const part of list)
      parts.push({ name: `${name}: ${part.name}`, flops: blocks * part.flops, bytes: blocks * part.bytes });
  };
  for (const backward of [false, true]) {
    const n = student.tokens;
    add(backward ? 'student backward' : 'student', student.blocks, [
      linear(n, backward),
      attention(n, student.length, backward),
      norms(n, backward),
      gelu(n),
    ]);
  }
  const t = teacher.tokens;
  // The targets: each layer is read twice (statistics, sum), the f32 sum is read and written.
  const targets = { name: 'targets', flops: 0, bytes: samples * tokens * width * (2 * BF16 + 2 * F32) };
  add('teacher', teacher.blocks, [
    linear(t, false),
    attention(t, teacher.length, false),
    norms(t, false),
    targets,
  ]);

  parts.push(...decoderParts(shape, decoded, masked));
  const features = samples * (shape.featuresPerSample ?? 0);
  const elements = samples * (shape.featureElements ?? 0);
  // Each layer: written, read and written by its norm with GELU; backward three reads and two writes more.
  if (features > 0)
    parts.push({ name: 'local features', flops: 3 * features, bytes: BF16 * elements * (3 + 5) });
  const positions = shape.positionsPerToken ?? 0;
  if (positions > 0) {
    const places = 3 * rows * tokens + samples * tokens;
    const passes = (shape.positionLayers ?? 1) * BF16 * width;
    parts.push({
      name: 'relative positions',
      flops: positions * places,
      bytes: passes * tokens * (rows * (4 + 8) + samples * 4),
    });
  }
  parts.push({
    name: 'norm of gradients, Adam, teacher, bf16 copies',
    flops: 0,
    bytes: parameters * (F32 * (1 + 8) + BF16) + averaged * (2 * F32 + BF16),
  });
  return parts;
}

/** Each layer: a grouped convolution, then norm, GELU and residual in one pass; then the projection and the loss. */
function decoderParts(shape: UpdateShape, decoded: number, masked: number): Part[] {
  const { width, decoder } = shape;
  const taps = decoder.kernel.reduce((product, k) => product * k, 1);
  const conv = { name: 'decoder: convolutions', flops: 0, bytes: 0 };
  const norm = { name: 'decoder: norms, GELU, residuals', flops: 0, bytes: 0 };
  let inputs = width;
  for (let layer = 0; layer < decoder.layers; layer++) {
    conv.flops += 3 * 2 * decoded * taps * (inputs / decoder.groups) * decoder.width;
    // Forward, to the input, to the weight: each reads or writes both sides once.
    conv.bytes += 3 * BF16 * decoded * (inputs + decoder.width);
    norm.bytes += BF16 * decoded * decoder.width * (3 + 4);
    inputs = decoder.width;
  }
  const projection = { name: 'decoder: projections', flops: 0, bytes: 0 };
  for (const outputs of decoder.projections) {
    projection.flops += 3 * 2 * decoded * inputs * outputs;
    projection.bytes += 3 * BF16 * decoded * (inputs + outputs);
    inputs = outputs;
  }
  // Put back at their places: read and write, twice; the loss reads predictions and targets and writes gradients.
  const places = BF16 * decoded * width * 4 + masked * width * (2 * BF16 + F32);
  return [conv, norm, projection, { name: 'tokens back at their places, loss', flops: 0, bytes: places }];
}

/** The GPU on paper that a driver's name for it means, or null. */
export function gpuOfName(name: string): Gpu | null {
  if (/\bH200\b/.test(name)) return GPUS.h200!;
  if (/\bH100\b.*HBM3/.test(name)) return GPUS.h100!;
  if (/\bA100-SXM\d?-80GB/.test(name)) return GPUS.a100!;
  return null;
}

/** Seconds of an update on a GPU at least. */
export function leastSeconds(parts: readonly Part[], gpu: Omit<Gpu, 'name'>): number {
  return parts.reduce((sum, part) => sum + bound(part, gpu).seconds, 0);
}

/** Seconds of a part on a GPU, and what bounds them. */
export function bound(part: Part, gpu: Omit<Gpu, 'name'>): { seconds: number; by: 'arithmetic' | 'memory' } {
  const arithmetic = part.flops / gpu.flopsPerSecond;
  const memory = part.bytes / gpu.bytesPerSecond;
  return arithmetic > memory ? { seconds: arithmetic, by: 'arithmetic' } : { seconds: memory, by: 'memory' };
}
