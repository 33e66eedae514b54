import { layerNorm } from '../tensor/ops-fused.js';
import type { Parameter } from '../tensor/parameter.js';
import type { Tensor } from '../tensor/tensor.js';
import { ones, zeros } from './init.js';
import { Module } from './module.js';

/** Layer norm over the last dimension (biased variance). State: `weight`, `bias`, unless `affine` is false. */
export class LayerNorm extends Module {
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;
  readonly eps: number;

  constructor(
    readonly width: number,
    options: { eps?: number; affine?: boolean } = {},
  ) {
    super();
    this.eps = options.eps ?? 1e-5;
    const affine = options.affine ?? true;
    this.weight = affine ? this.param('weight', [width], { init: ones }) : null;
    this.bias = affine ? this.param('bias', [width], { init: zeros }) : null;
  }

  /** act(norm(x + residual)) + after, in one kernel. */
  forward(
    x: Tensor,
    options: { residual?: Tensor | null; activation?: 'none' | 'gelu'; after?: Tensor | null } = {},
  ): Tensor {
    return layerNorm(x, { weight: this.weight, bias: this.bias, eps: this.eps, ...options });
  }
}
