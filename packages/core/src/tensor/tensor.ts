import type { Device, DType, RawTensor } from '@d2v/cuda-kernels';
import * as k from '@d2v/cuda-kernels';
import type { Node } from './autograd.js';

export type Shape = readonly number[];
export type HostData = Float32Array | Int32Array | Uint8Array | Uint16Array | BigInt64Array;

/**
 * A value on the tape: a native tensor plus, when it was computed from something that needs a gradient, the step that
 * made it. A Tensor owns its native handle. Handles that the backward pass needs are held by the tape itself, so freeing
 * a Tensor early (`dispose`) is always safe: it only gives up this handle.
 */
export class Tensor {
  /** The native tensor. Read it, never write to it while a tape refers to it. */
  protected handle: RawTensor | null;
  readonly shape: Shape;
  /** Whether `backward` computes a gradient for this tensor. */
  requiresGrad: boolean;
  /** The gradient of a leaf, summed over backward passes (f32); null until the first one, freed with `dispose()`. */
  grad: RawTensor | null = null;
  /** @internal The operation that made this tensor; null for leaves and for anything made inside `noGrad`. */
  node: Node | null = null;
  /** @internal Set by `keep`: the backward pass leaves the value alone. */
  kept = false;
  /** @internal Reads the exact (f64) value of a scalar; it is not read before it is asked for. */
  exactValue: (() => number) | undefined;
  /** @internal The exact value of a loss on its device, f64 [1]; freed with this handle. */
  exact: RawTensor | undefined;

  constructor(handle: RawTensor | null, options: { shape?: Shape; requiresGrad?: boolean } = {}) {
    this.handle = handle;
    this.shape = options.shape ?? handle?.shape ?? [];
    this.requiresGrad = options.requiresGrad ?? false;
  }

  get raw(): RawTensor {
    return this.handle!;
  }

  get dtype(): DType {
    return this.raw.dtype;
  }

  get device(): Device {
    return this.raw.device;
  }

  /** Number of elements. */
  get size(): number {
    return this.shape.reduce((n, d) => n * d, 1);
  }

  get disposed(): boolean {
    return this.handle === null || this.handle.disposed;
  }

  /** The native tensor to compute with when the other operand has this dtype (parameters may hold a bf16 copy). */
  valueFor(_dtype: DType): RawTensor {
    return this.raw;
  }

  /** The value of a tensor of one element. A loss gives its exact f64 value, also after `backward`. */
  item(): number {
    return this.exactValue ? this.exactValue() : k.item(this.raw);
  }

  /** A copy of the values in host memory (bf16 and f16 as their bit patterns). */
  toArray(): ReturnType<typeof k.toArray> {
    return k.toArray(this.raw);
  }

  /** The same values without history: no gradient flows through it, and the backward pass does not free it. */
  detach(): Tensor {
    return new Tensor(this.raw.reshape(this.shape));
  }

  /** Keeps the value beyond the current `scope` and beyond `backward`; the caller then disposes of it. */
  keep(): this {
    this.kept = true;
    k.keep(this.raw);
    if (this.exact) k.keep(this.exact);
    return this;
  }

  /** Gives up this handle (and a leaf's gradient). Idempotent; what the tape has saved lives until it was used. */
  dispose(): void {
    this.handle?.dispose();
    this.exact?.dispose();
    this.grad?.dispose();
    this.grad = null;
  }
}

export interface TensorOptions {
  dtype?: DType;
  device?: Device;
  requiresGrad?: boolean;
}

/**
 * A tensor from host data, e.g. `tensor([1, 2, 3, 4], [2, 2])`. Plain numbers become f32.
 * @throws when the number of elements does not match the shape
 */
export function tensor(
  data: HostData | readonly number[],
  shape: Shape,
  options: TensorOptions = {},
): Tensor {
  const array = Array.isArray(data) ? Float32Array.from(data as number[]) : (data as HostData);
  const { requiresGrad = false, ...where } = options;
  return new Tensor(k.fromArray(array, shape, where), { requiresGrad });
}
