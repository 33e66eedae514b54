import type { DType, RawTensor } from '@d2v/cuda-kernels';
import { D2vError } from '../errors.js';
import type { Init } from '../nn/init.js';
import { type Shape, Tensor } from './tensor.js';

export interface ParameterOptions {
  /** How the values start; drawn from a Philox stream keyed by the parameter's full name. */
  init: Init;
  /** False for tensors that are saved and loaded but never trained (fixed positions). Default true. */
  trainable?: boolean;
  /** Weight decay on or off; undefined: by the rule of the arena (none on 1-D tensors and biases). */
  decay?: boolean;
  /** Name of the optimizer's parameter group. Default: decided by the arena's `group` option. */
  group?: string;
}

/** Where a parameter's numbers are: views into an arena. */
export interface Storage {
  value: RawTensor;
  grad: RawTensor | null;
  /** A bf16 copy of the value for mixed precision. */
  compute?: RawTensor | null;
}

/**
 * A named leaf of a module. It is born as a shape and an initialiser only, so that building a module is free; a
 * `ParameterArena` gives it storage. Gradients accumulate straight into `grad`, a view into the arena.
 */
export class Parameter extends Tensor {
  /** The full name within the tree it was bound with, e.g. `blocks.0.attn.qkv.weight`; empty before. */
  name = '';
  readonly init: Init;
  /** Whether it is trained at all; see `freeze`. */
  trainable: boolean;
  readonly decay: boolean | undefined;
  readonly group: string | undefined;
  private compute: RawTensor | null = null;

  constructor(shape: Shape, options: ParameterOptions) {
    super(null, { shape: [...shape] });
    this.init = options.init;
    this.trainable = options.trainable ?? true;
    this.decay = options.decay;
    this.group = options.group;
  }

  /** Takes it out of training: no gradient, no optimizer state. Before an arena gives it storage. */
  freeze(): void {
    if (this.handle) throw new D2vError(`Parameter '${this.name}' is in an arena already: freeze it before.`);
    this.trainable = false;
  }

  override get raw(): RawTensor {
    if (!this.handle) {
      throw new D2vError(
        `Parameter '${this.name}' [${this.shape.join(', ')}] has no storage: build a ParameterArena first.`,
      );
    }
    return this.handle;
  }

  /** @internal Gives the parameter its storage (by the arena). */
  bind(name: string, storage: Storage): void {
    this.name = name;
    this.handle = storage.value;
    this.grad = storage.grad;
    this.compute = storage.compute ?? null;
    this.requiresGrad = this.trainable && storage.grad !== null;
  }

  override valueFor(dtype: DType): RawTensor {
    return this.compute && dtype === this.compute.dtype ? this.compute : this.raw;
  }

  /** Parameters belong to their arena, which frees them. */
  override dispose(): void {}
}
