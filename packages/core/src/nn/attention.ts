import type { RawTensor } from '@d2v/cuda-kernels';
import type { AlibiBias } from '../tensor/op-options.js';
import { attention } from '../tensor/ops-fused.js';
import type { Tensor } from '../tensor/tensor.js';
import type { ForwardContext } from './context.js';
import { Dropout } from './dropout.js';
import { Linear, type LinearInit } from './linear.js';
import { Module } from './module.js';

/** What attention may look at, besides the tokens. */
export interface AttentionMask {
  /** u8 [B,Tk], 1 removes the key. */
  keyPadding?: RawTensor | null;
  /** Bias by distance. */
  alibi?: AlibiBias | null;
  /** f32 [heads,Tq,Tk] or [B,heads,Tq,Tk], added to the scores. */
  bias?: Tensor | null;
}

export interface AttentionLayerOptions {
  heads: number;
  /** Bias of the qkv projection. Default true. */
  qkvBias?: boolean;
  /** Dropout of the attention weights. */
  attentionDropout?: number;
  /** Dropout of the result. */
  dropout?: number;
  init?: LinearInit;
}

/** Multi-head self-attention. State: `qkv` (queries, keys, values), `proj`. */
export class Attention extends Module {
  readonly qkv: Linear;
  readonly proj: Linear;
  private readonly drop: Dropout;

  constructor(
    width: number,
    readonly options: AttentionLayerOptions,
  ) {
    super();
    const { qkvBias = true, init, dropout = 0 } = options;
    this.qkv = this.child('qkv', new Linear(width, 3 * width, { bias: qkvBias, init }));
    this.proj = this.child('proj', new Linear(width, width, { init }));
    this.drop = new Dropout(dropout);
  }

  /** x [B,T,D] to [B,T,D]. */
  forward(x: Tensor, ctx: ForwardContext, mask: AttentionMask = {}): Tensor {
    const qkv = this.qkv.forward(x);
    const mixed = attention(qkv, null, {
      heads: this.options.heads,
      ...mask,
      ...weightDropout(this.options, ctx),
    });
    qkv.dispose();
    const y = this.proj.forward(mixed);
    mixed.dispose();
    return dropAndFree(y, this.drop, ctx);
  }
}

/** Attention of one sequence to another of a different width. State: `q_proj`, `kv_proj`, `proj`. */
export class CrossAttention extends Module {
  readonly qProj: Linear;
  readonly kvProj: Linear;
  readonly proj: Linear;
  private readonly drop: Dropout;

  constructor(
    width: number,
    kvWidth: number,
    readonly options: AttentionLayerOptions,
  ) {
    super();
    const { qkvBias = true, init, dropout = 0 } = options;
    this.qProj = this.child('q_proj', new Linear(width, width, { bias: qkvBias, init }));
    this.kvProj = this.child('kv_proj', new Linear(kvWidth, 2 * width, { bias: qkvBias, init }));
    this.proj = this.child('proj', new Linear(width, width, { init }));
    this.drop = new Dropout(dropout);
  }

  /** q [B,Tq,D], kv [B,Tk,Dkv] to [B,Tq,D]. */
  forward(q: Tensor, kv: Tensor, ctx: ForwardContext, mask: AttentionMask = {}): Tensor {
    const queries = this.qProj.forward(q);
    const keys = this.kvProj.forward(kv);
    const mixed = attention(queries, keys, {
      heads: this.options.heads,
      ...mask,
      ...weightDropout(this.options, ctx),
    });
    queries.dispose();
    keys.dispose();
    const y = this.proj.forward(mixed);
    mixed.dispose();
    return dropAndFree(y, this.drop, ctx);
  }
}

function weightDropout(options: AttentionLayerOptions, ctx: ForwardContext) {
  const p = options.attentionDropout ?? 0;
  return ctx.training && p > 0 ? { dropout: p, key: ctx.rng.next() } : {};
}

/** Applies dropout, and gives up the handle of its input when that made a new tensor. */
export function dropAndFree(
  x: Tensor,
  drop: Module & { forward: Dropout['forward'] },
  ctx: ForwardContext,
): Tensor {
  const y = drop.forward(x, ctx);
  if (y !== x) x.dispose();
  return y;
}
