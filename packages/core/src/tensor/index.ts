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
export type * from './op-options.js';
export * as ops from './ops.js';
export { Parameter, type ParameterOptions } from './parameter.js';
export { type HostData, type Shape, Tensor, type TensorOptions, tensor } from './tensor.js';
