/** Which samples of a batch are padding, and which tokens and intermediate features that makes padding. */
import { type Batch, D2vError, ops, type Pass, raw, type Tensor } from '@d2v/core';
import { type ConvLayer, outputLength } from './conv-spec.js';

/** The waveforms of a batch: `source` f32 [B,S]. */
export interface Waveforms {
  data: Float32Array;
  rows: number;
  samples: number;
  /** Samples of each row before its padding; null if no row is padded. */
  lengths: Int32Array | null;
}

/**
 * Reads `source` f32 [B,S] and `padding` u8 [B,S] (1 = padding) of a batch.
 * @throws D2vError if they have other shapes
 */
export function readWaveforms({ tensors }: Batch): Waveforms {
  const { source, padding } = tensors;
  const [rows, samples] = source?.shape ?? [];
  if (!(source?.data instanceof Float32Array) || source.shape.length !== 2 || !rows || !samples) {
    const found = source ? `[${source.shape.join(', ')}]` : 'none';
    throw new D2vError(`the audio model takes waveforms [clips, samples] of 16 kHz, the batch has ${found}`);
  }
  if (!padding) return { data: source.data, rows, samples, lengths: null };
  if (padding.shape.join() !== source.shape.join()) {
    throw new D2vError(
      `the batch's padding is [${padding.shape.join(', ')}], its waveforms [${source.shape.join(', ')}]: they must agree`,
    );
  }
  const lengths = new Int32Array(rows).fill(samples);
  for (let row = 0; row < rows; row++) {
    for (let i = row * samples; i < (row + 1) * samples; i++) lengths[row]! -= padding.data[i]!;
  }
  return { data: source.data, rows, samples, lengths: lengths.some((n) => n < samples) ? lengths : null };
}

/**
 * Features of each row that see nothing but samples of it; one at least, which for a clip shorter than the receptive
 * field sees the zeros behind it.
 */
export function featureLengths(layers: readonly ConvLayer[], { lengths }: Waveforms): Int32Array | null {
  return lengths?.map((length) => Math.max(1, outputLength(layers, length))) ?? null;
}

/** The last `tokens - lengths[row]` tokens of each row are padding: u8 [rows, tokens]; null if there are none. */
export function paddingFlags(lengths: Int32Array | null, tokens: number): Uint8Array | null {
  if (!lengths?.some((length) => length < tokens)) return null;
  const flags = new Uint8Array(lengths.length * tokens);
  for (const [row, length] of lengths.entries()) {
    flags.fill(1, row * tokens + Math.min(length, tokens), (row + 1) * tokens);
  }
  return flags;
}

/**
 * Factors that blank the padding of sequences [R,T,D]: f32 [R*T], 0 = padding.
 * @param padding `[B, T]`, 1 = padding; R is a multiple of B
 */
export function blankingFactors(
  padding: Uint8Array,
  rows: number,
  tokens: number,
  pass: Pass,
): raw.RawTensor {
  const clones = rows / (padding.length / tokens);
  const factors = Float32Array.from({ length: rows * tokens }, (_, i) => {
    const sample = Math.floor(i / tokens / clones);
    return 1 - padding[sample * tokens + (i % tokens)]!;
  });
  return pass.own(raw.fromArray(factors, [rows * tokens], { device: pass.device }));
}

/** x [R,T,D] with its padding set to zero. `x` stays usable. */
export function blank(x: Tensor, factors: raw.RawTensor): Tensor {
  const { shape } = x;
  const flat = ops.reshape(x, [-1, shape.at(-1)!]);
  const scaled = ops.scaleRows(flat, factors);
  flat.dispose();
  const y = ops.reshape(scaled, shape);
  scaled.dispose();
  return y;
}
