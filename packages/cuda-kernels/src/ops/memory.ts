/** Making, filling, moving and casting tensors. */
import { native } from '../native.js';
import type { Device, DType, HostArray, HostInput, RawTensor, RngKey, Shape } from '../types.js';

/** A tensor whose elements are whatever was in memory. */
export function empty(shape: Shape, dtype: DType = 'f32', device: Device = 'cpu'): RawTensor {
  return native.empty!(shape, dtype, device) as RawTensor;
}

export function zeros(shape: Shape, dtype: DType = 'f32', device: Device = 'cpu'): RawTensor {
  return native.zeros!(shape, dtype, device) as RawTensor;
}

/** Integers are truncated and saturate; NaN becomes 0 in integer tensors. */
export function full(shape: Shape, value: number, dtype: DType = 'f32', device: Device = 'cpu'): RawTensor {
  return native.full!(shape, value, dtype, device) as RawTensor;
}

/** Copies a typed array. The dtype is the array's unless given, f32 for a Float64Array; Uint16Array (bits of bf16 or f16) needs one. */
export function fromArray(
  data: HostInput,
  shape: Shape,
  options?: { dtype?: DType; device?: Device },
): RawTensor {
  return native.fromArray!(data, shape, options) as RawTensor;
}

/** A copy of the elements; bf16 and f16 as their bits. */
export function toArray(t: RawTensor): HostArray {
  return native.toArray!(t) as HostArray;
}

/** Values on their way to the host. */
export interface Readback {
  /** The values at the time of `readLater`, one array per tensor. Waits if they have not arrived. */
  get(): HostArray[];
}

/**
 * Starts to copy tensors of one device to the host without waiting for it. The tensors may be written to or freed at
 * once; on a device that is not asynchronous the values are there already.
 */
export function readLater(tensors: readonly RawTensor[]): Readback {
  return { get: native.readLater!(tensors) as () => HostArray[] };
}

/** The value of a tensor with one element. */
export function item(t: RawTensor): number {
  return native.item!(t) as number;
}

/** dst = src, cast to dst's dtype. */
export function copy_(dst: RawTensor, src: RawTensor): void {
  native.copy_!(dst, src);
}

/** A copy in another dtype (or the same). Rounds to nearest even; towards integers truncates and saturates. */
export function cast(t: RawTensor, dtype: DType): RawTensor {
  return native.cast!(t, dtype) as RawTensor;
}

export function fill_(t: RawTensor, value: number): void {
  native.fill_!(t, value);
}

/** dst = data, cast to dst's dtype. */
export function write_(dst: RawTensor, data: HostInput): void {
  native.write_!(dst, data);
}

/** A copy of the memory, little endian. */
export function bytes(t: RawTensor): Uint8Array {
  return native.bytes!(t) as Uint8Array;
}

export function writeBytes_(dst: RawTensor, data: Uint8Array): void {
  native.writeBytes_!(dst, data);
}

/** t = mean + std * normal (f32, bf16). Element i takes number i of the stream. */
export function normal_(t: RawTensor, mean: number, std: number, key: RngKey): void {
  native.normal_!(t, mean, std, key);
}

/** t = uniform in [lo, hi) with 24 random bits (f32, bf16). */
export function uniform_(t: RawTensor, lo: number, hi: number, key: RngKey): void {
  native.uniform_!(t, lo, hi, key);
}
