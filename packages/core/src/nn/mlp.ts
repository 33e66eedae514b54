import { mlp } from '../tensor/ops-fused.js';
import type { Tensor } from '../tensor/tensor.js';
import { dropAndFree } from './attention.js';
import type { ForwardContext } from './context.js';
import { Dropout } from './dropout.js';
import { Linear, type LinearInit } from './linear.js';
import { Module } from './module.js';

/** fc2(drop(gelu(fc1(x)))), with dropout after it too. State: `fc1`, `fc2`. */
export class Mlp extends Module {
  readonly fc1: Linear;
  readonly fc2: Linear;
  private readonly drop: Dropout;

  constructor(width: number, hidden: number, options: { dropout?: number; init?: LinearInit } = {}) {
    super();
    this.fc1 = this.child('fc1', new Linear(width, hidden, { init: options.init }));
    this.fc2 = this.child('fc2', new Linear(hidden, width, { init: options.init }));
    this.drop = new Dropout(options.dropout ?? 0);
  }

  /** x [..., D] to [..., D]. */
  forward(x: Tensor, ctx: ForwardContext): Tensor {
    const p = ctx.training ? this.drop.p : 0;
    const { fc1, fc2 } = this;
    const inner = p > 0 ? { dropout: p, key: ctx.rng.next() } : {};
    return dropAndFree(mlp(x, fc1.weight, fc1.bias, fc2.weight, fc2.bias, inner), this.drop, ctx);
  }
}
