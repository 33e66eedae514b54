/** The native layer, for operations of one's own (see `customOp`). */
export * as raw from '@d2v/cuda-kernels';
export {
  backward,
  customOp,
  type Gradient,
  type GradThunk,
  gradEnabled,
  noGrad,
  type Rule,
  type Saved,
  scope,
} from './autograd.js';
export * as ops from './ops.js';
export type { AlibiBias, AttentionOptions, ConvOptions, LayerNormOptions, PatchLayout } from './ops-fused.js';
export { Parameter, type ParameterOptions } from './parameter.js';
export { type HostData, type Shape, Tensor, type TensorOptions, tensor } from './tensor.js';
