/** The fused differentiable operations of the model; token-major `[batch, tokens, channels]` everywhere. */

import type { RawTensor, RngKey } from '@d2v/cuda-kernels';
import * as k from '@d2v/cuda-kernels';
import { D2vError } from '../errors.js';
import { record, recording } from './autograd.js';
import { attentionOptions, fusedGradients } from './gradients-fused.js';
import type {
  Activation,
  AttentionOptions,
  ConvOptions,
  LayerNormOptions,
  PatchLayout,
} from './op-options.js';
import type { Shape, Tensor } from './tensor.js';

/** y = act(x w^T + b); x [..., K], w [M, K], b [M]: [..., M]. */
export function linear(
  x: Tensor,
  w: Tensor,
  b?: Tensor | null,
  options: { activation?: Activation } = {},
): Tensor {
  const { activation = 'none' } = options;
  const inputs = [x, w, b];
  const weight = w.valueFor(x.dtype);
  const savePre = activation === 'gelu' && recording(inputs);
  const { y, pre } = k.linear(x.raw, weight, b?.valueFor(x.dtype) ?? null, { activation, savePre });
  return record('linear', fusedGradients.linear, inputs, y, { x: x.raw, w: weight, pre }, [pre]);
}

/**
 * The feed-forward pair y = w2 drop(gelu(w1 x + b1)) + b2 as one step of the tape: the derivative of the GELU is fused
 * into a product of the backward pass. x [..., K], w1 [H, K], w2 [M, H].
 */
export function mlp(
  x: Tensor,
  w1: Tensor,
  b1: Tensor | null,
  w2: Tensor,
  b2: Tensor | null,
  options: { dropout?: number; key?: RngKey } = {},
): Tensor {
  const { dropout: p = 0, key = null } = options;
  if (p > 0 && !key) throw new D2vError('mlp: dropout needs a key.');
  const inputs = [x, w1, b1, w2, b2];
  const v1 = w1.valueFor(x.dtype);
  const v2 = w2.valueFor(x.dtype);
  const savePre = recording(inputs);
  const first = k.linear(x.raw, v1, b1?.valueFor(x.dtype) ?? null, { activation: 'gelu', savePre });
  let hidden = first.y;
  if (p > 0) {
    hidden = k.dropout(first.y, p, key!);
    first.y.dispose();
  }
  const { y } = k.linear(hidden, v2, b2?.valueFor(x.dtype) ?? null);
  const saved = { x: x.raw, w1: v1, w2: v2, pre: first.pre!, hidden, dropout: p, key };
  return record('mlp', fusedGradients.mlp, inputs, y, saved, [first.pre, hidden]);
}

/** y = act(norm(x + residual) * weight + bias) + after, the norm over the last dimension with biased variance. */
export function layerNorm(x: Tensor, options: LayerNormOptions): Tensor {
  const { weight, bias, eps, residual, activation = 'none', after } = options;
  const inputs = [x, weight, bias, residual, after];
  const affine = { weight: weight?.valueFor(x.dtype), bias: bias?.valueFor(x.dtype) };
  const r = k.layerNorm(x.raw, {
    ...affine,
    eps,
    residual: residual?.raw,
    activation,
    after: after?.raw,
  });
  const saved = {
    sum: r.sum,
    mean: r.mean,
    rstd: r.rstd,
    ...affine,
    activation,
  };
  return record('layerNorm', fusedGradients.layerNorm, inputs, r.y, saved, [r.sum, r.mean, r.rstd]);
}

/**
 * Multi-head attention. Without `kv`, q is packed [B,T,3D] (queries, keys, values); with it, q is [B,Tq,D] and kv
 * [B,Tk,2D]. Result [B,Tq,D]; a row whose keys are all padded gives 0.
 */
export function attention(q: Tensor, kv: Tensor | null, options: AttentionOptions): Tensor {
  const { heads, scale, alibi, dropout = 0, key, keyPadding, bias } = options;
  const tensors = {
    ...(keyPadding && { keyPadding }),
    ...(bias && { bias: bias.raw }),
    ...(alibi && {
      slopes: alibi.slopes.raw,
      positionsQ: alibi.positionsQ,
      positionsK: alibi.positionsK,
    }),
    options: {
      heads,
      ...(scale !== undefined && { scale }),
      ...(alibi?.euclidean && { euclidean: true }),
      ...(dropout > 0 && { dropout, key }),
    },
  };
  const { out, lse } = k.attention(q.raw, kv?.raw ?? null, attentionOptions(tensors));
  const saved = { ...tensors, q: q.raw, kv: kv?.raw ?? null, out, lse };
  return record('attention', fusedGradients.attention, [q, kv, alibi?.slopes, bias], out, saved, [lse]);
}

/** Token-major convolution: x [B, ...space, Cin], w [Cout, Cin/groups, ...kernel]: [B, ...space', Cout]. */
export function conv(x: Tensor, w: Tensor, b: Tensor | null, options: ConvOptions): Tensor {
  const weight = w.valueFor(x.dtype);
  const y = k.conv(x.raw, weight, b?.valueFor(x.dtype) ?? null, options);
  const saved = { x: x.raw, w: weight, inputShape: x.shape, options };
  return record('conv', fusedGradients.conv, [x, w, b], y, saved);
}

/** Images [B,C,H,W] to tokens [B, (H/p)*(W/q), C*p*q], rows of patches first; the layout orders a token's elements. */
export function patchify(images: Tensor, patch: [number, number], layout: PatchLayout): Tensor {
  const image = images.shape.slice(1) as [number, number, number];
  const y = k.patchify(images.raw, patch, layout);
  return record('patchify', fusedGradients.patchify, [images], y, { image, patch, layout });
}

/** The inverse of `patchify`; `image` is [C,H,W]. */
export function unpatchify(
  tokens: Tensor,
  image: [number, number, number],
  patch: [number, number],
  layout: PatchLayout,
): Tensor {
  const y = k.unpatchify(tokens.raw, image, patch, layout);
  return record('unpatchify', fusedGradients.unpatchify, [tokens], y, { patch, layout });
}

/**
 * Picks tokens: x [B,T,D], ids i32 [R,K] with R a multiple of B (row r reads sample r / (R/B)), behind an optional
 * prefix [E,D] (or [1,E,D]) that is the same for every row: [R,E+K,D]. Without ids all tokens are taken.
 */
export function gatherTokens(x: Tensor, ids: RawTensor | null, prefix?: Tensor | null): Tensor {
  const flat: Shape | null = prefix ? prefix.shape.slice(-2) : null;
  const y = k.gatherTokens(x.raw, ids, prefix ? prefix.valueFor(x.dtype).reshape(flat!) : null);
  const saved = { ids, shape: x.shape, prefix: flat };
  return record('gatherTokens', fusedGradients.gatherTokens, [x, prefix], y, saved);
}

/**
 * Puts tokens back into their original order and fills the gaps with noise: x [R,E+K,D], restore i32 [R,T] (slot in
 * [kept | noise] order; slots below K are kept), the first `extra` tokens are dropped: [R,T,D].
 *
 * @param noise a tensor [R,T-K,D], or a standard deviation and a key to draw it from; it gets no gradient
 */
export function restoreTokens(
  x: Tensor,
  restore: RawTensor,
  extra: number,
  noise: RawTensor | { std: number; key: RngKey },
): Tensor {
  const kept = x.shape[1]! - extra;
  const y = k.restoreTokens(x.raw, restore, extra, noise);
  return record('restoreTokens', fusedGradients.restoreTokens, [x], y, { restore, extra, kept });
}

/** Rows of a table [V,D] by ids (i32 of any shape). The row `padding` gets no gradient. */
export function embedding(ids: RawTensor, table: Tensor, options: { padding?: number } = {}): Tensor {
  const y = k.embedding(ids, table.raw);
  return record('embedding', fusedGradients.embedding, [table], y, { ids, padding: options.padding });
}
