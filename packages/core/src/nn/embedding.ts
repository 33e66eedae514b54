import type { RawTensor } from '@d2v/cuda-kernels';
import { embedding } from '../tensor/ops-fused.js';
import type { Parameter } from '../tensor/parameter.js';
import type { Tensor } from '../tensor/tensor.js';
import { bert, type Init } from './init.js';
import { Module } from './module.js';

/** A table of vectors. State: `weight` [rows, width]; the row `padding` starts at zero and gets no gradient. */
export class Embedding extends Module {
  readonly weight: Parameter;
  private readonly padding: number | undefined;

  constructor(rows: number, width: number, options: { padding?: number; init?: Init } = {}) {
    super();
    this.padding = options.padding;
    this.weight = this.param('weight', [rows, width], { init: options.init ?? bert(options.padding) });
  }

  /** ids i32 [...] to [..., width]. */
  forward(ids: RawTensor): Tensor {
    return embedding(ids, this.weight, { padding: this.padding });
  }
}
