/** Element types. Computation is in f32 and bf16; f16 and f64 can be stored, moved and cast. */
export type DType = 'f32' | 'bf16' | 'f16' | 'i32' | 'i64' | 'u8' | 'f64';

/** `'cpu'` or `'cuda:0'`, ... */
export type Device = string;

export type Shape = readonly number[];

/** What `toArray` gives: bf16 and f16 come as their bits. */
export type HostArray = Float32Array | Uint16Array | Int32Array | BigInt64Array | Uint8Array | Float64Array;

/** What can be written into a tensor; a Uint16Array holds the bits of bf16 or f16. */
export type HostInput = HostArray | Uint8ClampedArray;

/**
 * A contiguous tensor in native memory. Freed by `dispose()` or by the end of the scope that it was made in; the
 * garbage collector is only a safety net. Every dimension is at least 1; `[]` is a single element.
 */
export interface RawTensor {
  readonly shape: Shape;
  readonly dtype: DType;
  /** Throws when disposed. */
  readonly device: Device;
  /** Number of elements. */
  readonly size: number;
  readonly disposed: boolean;
  /** Shares memory: `shape` starting at element `offset`. The memory lives as long as its last handle. */
  view(offset: number, shape: Shape): RawTensor;
  /** The same elements with another shape; shares memory. */
  reshape(shape: Shape): RawTensor;
  /** Gives the memory back (unless views still use it). May be called again. */
  dispose(): void;
}

/**
 * Names a stream of random numbers (Philox 4x32-10): key = seed (low and high 32 bits), counter = [block index low,
 * high, stream, update]. `seed` is a whole number below 2^53, the others below 2^32. The algorithm, down to uniform and
 * normal numbers, is in native/random.h.
 */
export interface RngKey {
  seed: number;
  update: number;
  stream: number;
}

export type Activation = 'none' | 'gelu';
export type UnaryName = 'gelu' | 'relu' | 'tanh' | 'sigmoid' | 'exp' | 'log' | 'sqrt' | 'square';
export type TargetNorm = 'none' | 'layer' | 'instance' | 'batch';
/** Order of the elements of a patch: channel, row, column or row, column, channel. */
export type PatchLayout = 'cpq' | 'pqc';
