import * as k from '@d2v/cuda-kernels';
import { dropout, scaleRows } from '../tensor/ops-basic.js';
import type { Tensor } from '../tensor/tensor.js';
import type { ForwardContext } from './context.js';
import { Module } from './module.js';

/** Zeroes elements with probability p while training. */
export class Dropout extends Module {
  constructor(readonly p: number) {
    super();
  }

  forward(x: Tensor, ctx: ForwardContext): Tensor {
    return ctx.training && this.p > 0 ? dropout(x, this.p, ctx.rng.next()) : x;
  }
}

/** Stochastic depth: drops the whole branch for a sample with probability p while training (the others scaled up). */
export class DropPath extends Module {
  constructor(readonly p: number) {
    super();
  }

  forward(x: Tensor, ctx: ForwardContext): Tensor {
    if (!ctx.training || this.p === 0) return x;
    const rng = ctx.rng.host();
    const keep = 1 - this.p;
    const factors = Float32Array.from({ length: x.shape[0]! }, () => (rng.uniform() < keep ? 1 / keep : 0));
    const raw = k.fromArray(factors, [factors.length], { device: x.device });
    const y = scaleRows(x, raw);
    raw.dispose();
    return y;
  }
}
