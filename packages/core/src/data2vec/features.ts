/** Features of a frozen network: outputs of its layers, per token or pooled. */

import type { RawTensor } from '@d2v/cuda-kernels';
import * as k from '@d2v/cuda-kernels';
import { D2vError } from '../errors.js';
import type { Batch } from '../modality/contract.js';
import { noGrad, type Tensor } from '../tensor/index.js';
import type { Pass } from './pass.js';
import type { Student } from './student.js';

export interface FeatureOptions {
  /** Name or key of the modality. */
  modality: string;
  /** Whose features. Default 'student'. */
  network?: 'student' | 'teacher';
  /**
   * Which layer: 1 is the first prenet (or else shared) block, the last one is `layerCount`; 0 is the first block's input;
   * 'last' (default) the network's output, with the final norm of pre-norm models; 'all' every block.
   */
  layer?: number | 'last' | 'all';
  /** A block's output, or the feed-forward result that targets are made of. Default 'block'. */
  kind?: 'block' | 'ffn';
  /** Keep the extra tokens in front. Default false. */
  extraTokens?: boolean;
}

export interface Features {
  /** f32 [B,E+T,D], one per layer asked for; the caller disposes of them. E = `extra`. */
  layers: RawTensor[];
  /** Extra tokens in front of each sample. */
  extra: number;
  /** `[B, T]`, 1 = padding, or null. */
  padding: Uint8Array | null;
  /** Tokens per sample without extra ones. */
  tokens: number;
  dim: number;
  /** How the tokens lie in space, row-major, e.g. [8, 8]; [tokens] for a sequence. */
  grid: readonly number[];
}

/** Runs the network in evaluation mode on unmasked samples. */
export function computeFeatures(
  network: Student,
  key: string,
  batch: Batch,
  options: FeatureOptions,
  pass: Pass,
): Features {
  const { layer = 'last', kind = 'block', extraTokens = false } = options;
  const encoder = network.encoder(key);
  const prenet = encoder.config.prenet_depth;
  const total = prenet + network.blocks.length;
  const wanted = wantedLayers(layer, kind, total);
  const layout = encoder.layout(batch);
  const extra = encoder.config.num_extra_tokens;
  const layers: RawTensor[] = [];
  const take = (x: Tensor) => {
    const raw = extraTokens || extra === 0 ? x.raw.reshape(x.shape) : k.slice(x.raw, 1, extra, layout.tokens);
    layers.push(raw.dtype === 'f32' ? raw : k.cast(raw, 'f32'));
  };
  const hooks = (before: number) => ({
    onInput: (x: Tensor) => {
      if (before === 0 && wanted.has(0)) take(x);
    },
    onBlock: (i: number, output: { x: Tensor; ffn: Tensor | null }) => {
      if (wanted.has(before + i + 1)) take(kind === 'ffn' ? output.ffn! : output.x);
    },
    wantsFfn: (i: number) => kind === 'ffn' && wanted.has(before + i + 1),
  });
  return noGrad(() =>
    k.scope(() => {
      const local = encoder.localFeatures(batch, pass);
      const { x, attention } = encoder.contextualize(local, layout, null, pass, hooks(0));
      const y = network.encode(x, attention, prenet, pass, hooks(prenet));
      if (layer === 'last' && kind === 'block') take(y);
      const dim = network.config.embed_dim;
      const { padding, tokens, grid = [tokens] } = layout;
      return { layers, extra: extraTokens ? extra : 0, padding, tokens, dim, grid };
    }),
  );
}

function wantedLayers(layer: number | 'last' | 'all', kind: 'block' | 'ffn', total: number): Set<number> {
  if (layer === 'last') return new Set(kind === 'ffn' ? [total] : []);
  if (layer === 'all') return new Set(Array.from({ length: total }, (_, i) => i + 1));
  if (!Number.isInteger(layer) || layer < 0 || layer > total) {
    throw new D2vError(`there is no layer ${layer}: choose 0 to ${total}, or leave it out for the last one`);
  }
  if (kind === 'ffn' && layer === 0)
    throw new D2vError('layer 0 has no feed-forward part: choose 1 or above');
  return new Set([layer]);
}

/** How the tokens of a sample become one vector; 'none' keeps them all. */
export const POOLS = ['mean', 'grid', 'cls', 'none'] as const;
export type Pool = (typeof POOLS)[number];

/**
 * Brings features to host memory; one result per layer, the features stay usable.
 * - 'mean' [B,D]: over the tokens that are neither extra nor padding.
 * - 'grid' [B,P*D]: a mean for each half of every spatial axis (P = 4 quarters of an image, 2 halves of a sequence), which
 *   keeps roughly where things are.
 * - 'cls' [B,D]: the last extra token.
 * - 'none' [B,T,D].
 */
export function poolFeatures(features: Features, pool: Pool): { data: Float32Array; shape: number[] }[] {
  const { extra, padding, grid, tokens, dim } = features;
  if (pool === 'cls' && extra === 0) {
    throw new D2vError(
      'there is no class token among these features: the modality needs num_extra_tokens >= 1',
    );
  }
  return features.layers.map((layer) => {
    const samples = layer.shape[0]!;
    const all = () => k.toArray(layer) as Float32Array;
    if (pool === 'none') return { data: all(), shape: [...layer.shape] };
    if (pool === 'grid' || (pool === 'mean' && padding?.includes(1))) {
      const parts = pool === 'grid' ? halves(grid) : new Uint8Array(tokens);
      return partMeans(all(), samples, extra, parts, dim, padding);
    }
    const pooled = pool === 'mean' ? k.meanTokens(layer, extra) : k.slice(layer, 1, extra - 1, 1);
    const data = k.toArray(pooled) as Float32Array;
    pooled.dispose();
    return { data, shape: [samples, dim] };
  });
}

/** For each token of a grid, the number of the part it lies in when every axis is cut in two. */
function halves(grid: readonly number[]): Uint8Array {
  const parts = new Uint8Array(grid.reduce((product, side) => product * side, 1));
  for (let token = 0; token < parts.length; token++) {
    let rest = token;
    for (let axis = grid.length - 1; axis >= 0; axis--) {
      const side = grid[axis]!;
      if ((rest % side) * 2 >= side) parts[token]! |= 1 << (grid.length - 1 - axis);
      rest = Math.floor(rest / side);
    }
  }
  return parts;
}

/** Means over the tokens of each part, padding left out: [samples, parts * dim]; a part without tokens gives zeros. */
function partMeans(
  all: Float32Array,
  samples: number,
  extra: number,
  partOf: Uint8Array,
  dim: number,
  padding: Uint8Array | null,
): { data: Float32Array; shape: number[] } {
  const tokens = partOf.length;
  const parts = partOf.reduce((most, part) => Math.max(most, part), 0) + 1;
  const data = new Float32Array(samples * parts * dim);
  const sums = new Float64Array(parts * dim);
  const counts = new Uint32Array(parts);
  for (let b = 0; b < samples; b++) {
    sums.fill(0);
    counts.fill(0);
    for (let t = 0; t < tokens; t++) {
      if (padding?.[b * tokens + t]) continue;
      const part = partOf[t]!;
      const from = (b * (extra + tokens) + extra + t) * dim;
      counts[part]!++;
      for (let d = 0; d < dim; d++) sums[part * dim + d]! += all[from + d]!;
    }
    for (let i = 0; i < sums.length; i++) {
      data[b * sums.length + i] = sums[i]! / Math.max(1, counts[Math.floor(i / dim)]!);
    }
  }
  return { data, shape: [samples, parts * dim] };
}
