import { linear } from '../tensor/ops-fused.js';
import type { Parameter } from '../tensor/parameter.js';
import type { Tensor } from '../tensor/tensor.js';
import { bert, frameworkDefault, type Init, xavierUniform, zeros } from './init.js';
import { Module } from './module.js';

/** Named weight initialisations of a linear layer (with what the bias then is). */
export type LinearInit = 'bert' | 'default' | 'xavier' | { weight: Init; bias: Init };

/** Resolves a name for a layer of these sizes. */
export function linearInit(init: LinearInit, inputs: number, outputs: number): { weight: Init; bias: Init } {
  switch (init) {
    case 'bert':
      return { weight: bert(), bias: zeros };
    case 'xavier':
      return { weight: xavierUniform(outputs, inputs), bias: zeros };
    case 'default':
      return { weight: frameworkDefault(inputs), bias: frameworkDefault(inputs) };
    default:
      return init;
  }
}

export interface LinearOptions {
  /** Default true. */
  bias?: boolean;
  /** Default 'bert': N(0, 0.02), bias 0. */
  init?: LinearInit;
}

/** y = x W^T + b over the last dimension. State: `weight` [out, in], `bias` [out]. */
export class Linear extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;

  constructor(
    readonly inputs: number,
    readonly outputs: number,
    options: LinearOptions = {},
  ) {
    super();
    const init = linearInit(options.init ?? 'bert', inputs, outputs);
    this.weight = this.param('weight', [outputs, inputs], { init: init.weight });
    this.bias = (options.bias ?? true) ? this.param('bias', [outputs], { init: init.bias }) : null;
  }

  /** @param options `activation: 'gelu'` is fused into the product */
  forward(x: Tensor, options: { activation?: 'none' | 'gelu' } = {}): Tensor {
    return linear(x, this.weight, this.bias, options);
  }
}
