import { conv } from '../tensor/ops-fused.js';
import type { Parameter } from '../tensor/parameter.js';
import type { Tensor } from '../tensor/tensor.js';
import { frameworkDefault, type Init } from './init.js';
import { Module } from './module.js';

export interface ConvLayerOptions {
  kernel: number;
  /** Default 1. */
  stride?: number;
  /** Zeros on both sides, or 'same': as many outputs as inputs at stride 1; an even kernel gets one zero less behind,
   *  which drops the last output of symmetric padding. Default 0. */
  padding?: number | 'same';
  /** Default 1. */
  groups?: number;
  /** Default true. */
  bias?: boolean;
  /** Default: Kaiming-uniform with a = sqrt(5), bias likewise. */
  init?: { weight: Init; bias?: Init };
}

abstract class ConvNd extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  private readonly options: { stride: number[]; padding: [number, number][]; groups: number };

  constructor(rank: number, inputs: number, outputs: number, o: ConvLayerOptions) {
    super();
    const { kernel, stride = 1, padding = 0, groups = 1, bias = true, init } = o;
    const shape = [outputs, inputs / groups, ...Array<number>(rank).fill(kernel)];
    const fanIn = (inputs / groups) * kernel ** rank;
    this.weight = this.param('weight', shape, { init: init?.weight ?? frameworkDefault(fanIn) });
    this.bias = bias ? this.param('bias', [outputs], { init: init?.bias ?? frameworkDefault(fanIn) }) : null;
    const sides = (): [number, number] =>
      padding === 'same' ? [kernel >> 1, (kernel - 1) >> 1] : [padding, padding];
    this.options = {
      stride: Array<number>(rank).fill(stride),
      padding: Array.from({ length: rank }, sides),
      groups,
    };
  }

  /** x [B, ...space, inputs] to [B, ...space', outputs]. */
  forward(x: Tensor): Tensor {
    return conv(x, this.weight, this.bias, this.options);
  }
}

/** Convolution over time, token-major [B,T,C]. State: `weight` [out, in/groups, kernel], `bias`. */
export class Conv1d extends ConvNd {
  constructor(inputs: number, outputs: number, options: ConvLayerOptions) {
    super(1, inputs, outputs, options);
  }
}

/** Convolution over a grid, token-major [B,H,W,C]. State: `weight` [out, in/groups, kernel, kernel], `bias`. */
export class Conv2d extends ConvNd {
  constructor(inputs: number, outputs: number, options: ConvLayerOptions) {
    super(2, inputs, outputs, options);
  }
}
