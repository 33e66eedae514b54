import { gradEnabled, scope } from '../tensor/autograd.js';
import { add, scale } from '../tensor/ops-basic.js';
import type { Tensor } from '../tensor/tensor.js';
import { Attention, type AttentionMask, CrossAttention, dropAndFree } from './attention.js';
import type { ForwardContext } from './context.js';
import { Dropout, DropPath } from './dropout.js';
import type { LinearInit } from './linear.js';
import { Mlp } from './mlp.js';
import { Module } from './module.js';
import { LayerNorm } from './norm.js';

export interface BlockOptions {
  heads: number;
  /** Hidden width of the feed-forward part, in widths. Default 4. */
  mlpRatio?: number;
  qkvBias?: boolean;
  /** Dropout of the attention's result. */
  dropout?: number;
  attentionDropout?: number;
  /** Dropout inside the feed-forward part. */
  mlpDropout?: number;
  /** Dropout of the feed-forward result. */
  postMlpDropout?: number;
  /** Stochastic depth. */
  dropPath?: number;
  normEps?: number;
  normAffine?: boolean;
  /** Pre-norm instead of post-norm. */
  layerNormFirst?: boolean;
  init?: LinearInit;
}

export interface BlockOutput {
  x: Tensor;
  /** The feed-forward result before dropout, residual and norm: what data2vec averages. Only if asked for. */
  ffn: Tensor | null;
}

/**
 * A transformer block. State: `norm1`, `attn`, `norm2`, `mlp`.
 *
 * Post-norm: `h = norm1(x + attn(x)); out = norm2(h + mlp(h))`.
 * Pre-norm: `h = x + attn(norm1(x)); f = mlp(norm2(h)); out = f + drop(f)`. The residual of the second half is the
 * feed-forward result itself, not `h`: that is what the reference computes, and published weights depend on it.
 */
export class TransformerBlock extends Module {
  readonly norm1: LayerNorm;
  readonly attn: Attention;
  readonly norm2: LayerNorm;
  readonly mlp: Mlp;
  private readonly path: DropPath;
  private readonly postMlp: Dropout;
  readonly layerNormFirst: boolean;

  constructor(width: number, options: BlockOptions) {
    super();
    const { heads, qkvBias, dropout, attentionDropout, init } = options;
    const norm = { eps: options.normEps ?? 1e-5, affine: options.normAffine ?? true };
    const hidden = Math.trunc(width * (options.mlpRatio ?? 4));
    this.norm1 = this.child('norm1', new LayerNorm(width, norm));
    this.attn = this.child('attn', new Attention(width, { heads, qkvBias, dropout, attentionDropout, init }));
    this.norm2 = this.child('norm2', new LayerNorm(width, norm));
    this.mlp = this.child('mlp', new Mlp(width, hidden, { dropout: options.mlpDropout, init }));
    this.path = new DropPath(options.dropPath ?? 0);
    this.postMlp = new Dropout(options.postMlpDropout ?? 0);
    this.layerNormFirst = options.layerNormFirst ?? false;
  }

  /**
   * x [B,T,D] to [B,T,D].
   * @param options `ffn: true` also returns the feed-forward result (otherwise its memory is given back at once)
   */
  forward(
    x: Tensor,
    ctx: ForwardContext,
    mask: AttentionMask = {},
    options: { ffn?: boolean } = {},
  ): BlockOutput {
    const run = () => (this.layerNormFirst ? this.preNorm(x, ctx, mask) : this.postNorm(x, ctx, mask));
    const y = gradEnabled() ? run() : scope(run);
    if (options.ffn) return y;
    if (y.ffn !== y.x) y.ffn.dispose();
    return { x: y.x, ffn: null };
  }

  private postNorm(x: Tensor, ctx: ForwardContext, mask: AttentionMask) {
    const a = dropAndFree(this.attn.forward(x, ctx, mask), this.path, ctx);
    const h = this.norm1.forward(a, { residual: x });
    a.dispose();
    const ffn = this.mlp.forward(h, ctx);
    const branch = this.path.forward(this.postMlp.forward(ffn, ctx), ctx);
    const out = this.norm2.forward(branch, { residual: h });
    if (branch !== ffn) branch.dispose();
    h.dispose();
    return { x: out, ffn };
  }

  private preNorm(x: Tensor, ctx: ForwardContext, mask: AttentionMask) {
    const n1 = this.norm1.forward(x);
    const a = dropAndFree(this.attn.forward(n1, ctx, mask), this.path, ctx);
    n1.dispose();
    const h = add(x, a);
    a.dispose();
    const n2 = this.norm2.forward(h);
    h.dispose();
    const ffn = this.mlp.forward(n2, ctx);
    n2.dispose();
    const branch = this.path.forward(this.postMlp.forward(ffn, ctx), ctx);
    const out = branch === ffn ? scale(ffn, 2) : add(ffn, branch);
    return { x: out, ffn };
  }
}

/**
 * A decoder block: queries attend to an encoder's tokens, then a feed-forward part. State as TransformerBlock's, with
 * `attn.q_proj`, `attn.kv_proj`, `attn.proj`. Without `firstResidual` the queries are not added to what they attend to
 * (the first block's queries are bare positions).
 */
export class EncDecBlock extends Module {
  readonly norm1: LayerNorm;
  readonly attn: CrossAttention;
  readonly norm2: LayerNorm;
  readonly mlp: Mlp;
  private readonly path: DropPath;
  private readonly postMlp: Dropout;
  private readonly layerNormFirst: boolean;
  private readonly firstResidual: boolean;

  constructor(width: number, kvWidth: number, options: BlockOptions & { firstResidual?: boolean }) {
    super();
    const { heads, qkvBias, dropout, attentionDropout, init } = options;
    const norm = { eps: options.normEps ?? 1e-5, affine: options.normAffine ?? true };
    const hidden = Math.trunc(width * (options.mlpRatio ?? 4));
    this.norm1 = this.child('norm1', new LayerNorm(width, norm));
    this.attn = this.child(
      'attn',
      new CrossAttention(width, kvWidth, { heads, qkvBias, dropout, attentionDropout, init }),
    );
    this.norm2 = this.child('norm2', new LayerNorm(width, norm));
    this.mlp = this.child('mlp', new Mlp(width, hidden, { dropout: options.mlpDropout, init }));
    this.path = new DropPath(options.dropPath ?? 0);
    this.postMlp = new Dropout(options.postMlpDropout ?? 0);
    this.layerNormFirst = options.layerNormFirst ?? false;
    this.firstResidual = options.firstResidual ?? true;
  }

  /** q [B,Tq,D], kv [B,Tk,Dkv] to [B,Tq,D]. */
  forward(q: Tensor, kv: Tensor, ctx: ForwardContext, mask: AttentionMask = {}): Tensor {
    const run = () =>
      this.layerNormFirst ? this.preNorm(q, kv, ctx, mask) : this.postNorm(q, kv, ctx, mask);
    return gradEnabled() ? run() : scope(run);
  }

  private postNorm(q: Tensor, kv: Tensor, ctx: ForwardContext, mask: AttentionMask): Tensor {
    const a = dropAndFree(this.attn.forward(q, kv, ctx, mask), this.path, ctx);
    const h = this.norm1.forward(a, { residual: this.firstResidual ? q : null });
    a.dispose();
    return this.norm2.forward(this.feedForward(h, ctx), { residual: h });
  }

  private preNorm(q: Tensor, kv: Tensor, ctx: ForwardContext, mask: AttentionMask): Tensor {
    const a = dropAndFree(this.attn.forward(this.norm1.forward(q), kv, ctx, mask), this.path, ctx);
    const h = this.firstResidual ? add(q, a) : a;
    const ffn = this.mlp.forward(this.norm2.forward(h), ctx);
    return add(ffn, this.path.forward(this.postMlp.forward(ffn, ctx), ctx));
  }

  private feedForward(h: Tensor, ctx: ForwardContext): Tensor {
    return this.path.forward(this.postMlp.forward(this.mlp.forward(h, ctx), ctx), ctx);
  }
}
