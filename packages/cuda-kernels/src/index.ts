/**
 * Native tensors and kernels: the typed face of the addon. No autograd; that is @d2v/core's. Every function checks its
 * arguments and throws an Error whose message names the function, the argument, and what was expected and given.
 */
export { ABI, NativeLoadError } from './native.js';
export * from './ops/attention.js';
export * from './ops/conv.js';
export * from './ops/elementwise.js';
export * from './ops/gemm.js';
export * from './ops/memory.js';
export * from './ops/norm.js';
export * from './ops/optimizer.js';
export * from './ops/targets.js';
export * from './ops/tokens.js';
export * from './system.js';
export { keep, RawTensor, scope } from './tensor.js';
export type * from './types.js';
