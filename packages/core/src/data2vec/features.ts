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
      return { layers, extra: extraTokens ? extra : 0, padding: layout.padding, tokens: layout.tokens, dim };
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

export type Pool = 'mean' | 'cls' | 'none';

/**
 * Brings features to host memory: 'mean' over the tokens that are neither extra nor padding [B,D], 'cls' the last extra
 * token [B,D], 'none' all of them [B,T,D]. One result per layer; the features stay usable.
 */
export function poolFeatures(features: Features, pool: Pool): { data: Float32Array; shape: number[] }[] {
  const { extra, padding, tokens, dim } = features;
  if (pool === 'cls' && extra === 0) {
    throw new D2vError(
      'there is no class token among these features: the modality needs num_extra_tokens >= 1',
    );
  }
  return features.layers.map((layer) => {
    const samples = layer.shape[0]!;
    if (pool === 'none') return { data: k.toArray(layer) as Float32Array, shape: [...layer.shape] };
    const shape = [samples, dim];
    if (pool === 'mean' && padding?.includes(1)) {
      const data = meanWithoutPadding(k.toArray(layer) as Float32Array, samples, extra, tokens, dim, padding);
      return { data, shape };
    }
    const pooled = pool === 'mean' ? k.meanTokens(layer, extra) : k.slice(layer, 1, extra - 1, 1);
    const data = k.toArray(pooled) as Float32Array;
    pooled.dispose();
    return { data, shape };
  });
}

function meanWithoutPadding(
  all: Float32Array,
  samples: number,
  extra: number,
  tokens: number,
  dim: number,
  padding: Uint8Array,
): Float32Array {
  const out = new Float32Array(samples * dim);
  const sum = new Float64Array(dim);
  for (let b = 0; b < samples; b++) {
    let count = 0;
    sum.fill(0);
    for (let t = 0; t < tokens; t++) {
      if (padding[b * tokens + t]) continue;
      count++;
      const from = (b * (extra + tokens) + extra + t) * dim;
      for (let d = 0; d < dim; d++) sum[d]! += all[from + d]!;
    }
    for (let d = 0; d < dim; d++) out[b * dim + d] = sum[d]! / Math.max(1, count);
  }
  return out;
}
