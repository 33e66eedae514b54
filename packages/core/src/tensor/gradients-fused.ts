/**
 * The gradients of the fused operations: the same table as `gradients.ts`. Parameter gradients are accumulated into
 * `g.target(i)` (the parameter's own view of the gradient arena) and their thunks return nothing.
 */

import type { RawTensor } from '@d2v/cuda-kernels';
import * as k from '@d2v/cuda-kernels';
import type { Gradient, GradThunk } from './autograd.js';
import type { Shape } from './tensor.js';

type R = RawTensor;
type Thunks = (GradThunk | null)[];

/** Accumulates dw += dy^T x and db += sum of dy, whichever is wanted, for the inputs `w` and `w + 1`. */
function linearParameters(g: Gradient, dy: R, x: R, w: number): void {
  if (g.needs(w)) k.linearGradWeight_(g.target(w), dy, x, g.needs(w + 1) ? g.target(w + 1) : null);
  else if (g.needs(w + 1)) biasOnly(g, dy, w + 1);
}

function biasOnly(g: Gradient, dy: R, b: number): void {
  k.axpy_(g.target(b), 1, k.cast(k.sumTo(dy, [dy.shape.at(-1)!]), 'f32'));
}

/** A loss was computed together with its gradient; only the seed is left to apply. */
function seeded(dy: R, gradient: R): R {
  k.scale_(gradient, dy);
  return gradient.reshape(gradient.shape);
}

export interface AttentionSaved {
  q: R;
  kv: R | null;
  out: R;
  lse: R;
  keyPadding?: R;
  slopes?: R;
  positionsQ?: R;
  positionsK?: R;
  bias?: R;
  /** Everything in the kernel's options that is not a tensor. */
  options: { heads: number; scale?: number; euclidean?: boolean; dropout?: number; key?: k.RngKey };
}

/** The kernel's options, put together again from what the tape holds. */
export function attentionOptions(s: Omit<AttentionSaved, 'q' | 'kv' | 'out' | 'lse'>): k.AttentionOptions {
  const { euclidean, ...plain } = s.options;
  const { slopes, positionsQ, positionsK, keyPadding, bias } = s as AttentionSaved;
  return {
    ...plain,
    ...(keyPadding && { keyPadding }),
    ...(bias && { bias }),
    ...(slopes && { alibi: { slopes, positionsQ: positionsQ!, positionsK: positionsK!, euclidean } }),
  };
}

export const fusedGradients = {
  /** Inputs x, w, b. With GELU, `pre` is the value before it. */
  linear: (g: Gradient, s: { x: R; w: R; pre: R | null }): Thunks => {
    const dy = s.pre ? k.unaryBackward('gelu', g.dy, s.pre, s.pre) : g.dy;
    linearParameters(g, dy, s.x, 1);
    return [() => k.linearGradInput(dy, s.w, { accumulate: g.into(0) })];
  },

  /** Inputs x, w1, b1, w2, b2: y = w2 drop(gelu(w1 x + b1)) + b2, the GELU's derivative fused into the product. */
  mlp: (
    g: Gradient,
    s: { x: R; w1: R; w2: R; pre: R; hidden: R; dropout: number; key: k.RngKey | null },
  ): Thunks => {
    linearParameters(g, g.dy, s.hidden, 3);
    const dpre =
      s.dropout > 0
        ? k.unaryBackward('gelu', k.dropout(k.linearGradInput(g.dy, s.w2), s.dropout, s.key!), s.pre, s.pre)
        : k.linearGradInput(g.dy, s.w2, { geluPre: s.pre });
    // Around a residual connection dy is also what x has so far; from here on it may be added to in place.
    g.release();
    linearParameters(g, dpre, s.x, 1);
    return [() => k.linearGradInput(dpre, s.w1, { accumulate: g.into(0) })];
  },

  /** Inputs x, weight, bias, residual, after: y = act(norm(x + residual) * weight + bias) + after. */
  layerNorm: (
    g: Gradient,
    s: { sum: R; mean: R; rstd: R; weight?: R; bias?: R; activation: 'none' | 'gelu' },
  ): Thunks => {
    const dsum = k.layerNormBackward(g.dy, s.sum, s.mean, s.rstd, {
      weight: s.weight,
      bias: s.bias,
      activation: s.activation,
      dWeight: g.needs(1) ? g.target(1) : undefined,
      dBias: g.needs(2) ? g.target(2) : undefined,
    });
    return [() => dsum, null, null, () => dsum, () => g.dy];
  },

  /** Inputs q (or packed qkv), kv, slopes, bias. */
  attention: (g: Gradient, s: AttentionSaved): Thunks => {
    const d = k.attentionBackward(g.dy, s.out, s.lse, s.q, s.kv, attentionOptions(s));
    return [() => d.dq, () => d.dkv, () => d.dSlopes, () => d.dBias];
  },

  /** Inputs x, w, b. */
  conv: (g: Gradient, s: { x: R; w: R; inputShape: Shape; options: k.ConvOptions }): Thunks => {
    if (g.needs(1)) k.convGradWeight_(g.target(1), g.dy, s.x, g.needs(2) ? g.target(2) : null, s.options);
    else if (g.needs(2)) biasOnly(g, g.dy, 2);
    return [() => k.convGradInput(g.dy, s.w, s.inputShape, s.options)];
  },
  patchify: (
    { dy }: Gradient,
    s: { image: [number, number, number]; patch: [number, number]; layout: 'cpq' | 'pqc' },
  ): Thunks => [() => k.unpatchify(dy, s.image, s.patch, s.layout)],
  unpatchify: ({ dy }: Gradient, s: { patch: [number, number]; layout: 'cpq' | 'pqc' }): Thunks => [
    () => k.patchify(dy, s.patch, s.layout),
  ],

  /** Inputs x, prefix. */
  gatherTokens: (g: Gradient, s: { ids: R | null; shape: Shape; prefix: Shape | null }): Thunks => {
    const dPrefix = g.needs(1) ? g.target(1).reshape(s.prefix!) : undefined;
    const dx = k.gatherTokensBackward(g.dy, s.ids, s.shape, dPrefix);
    return [() => dx, null];
  },
  restoreTokens: ({ dy }: Gradient, s: { restore: R; extra: number; kept: number }): Thunks => [
    () => k.restoreTokensBackward(dy, s.restore, s.extra, s.kept),
  ],
  embedding: (g: Gradient, s: { ids: R; padding: number | undefined }): Thunks => [
    () => k.embeddingGrad_(g.target(0), s.ids, g.dy, s.padding),
  ],

  maskedLoss: ({ dy }: Gradient, s: { dpred: R }): Thunks => [() => seeded(dy, s.dpred)],
  crossEntropy: ({ dy }: Gradient, s: { dlogits: R }): Thunks => [() => seeded(dy, s.dlogits)],
};
