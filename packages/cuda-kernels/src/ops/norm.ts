/** Layer norm over the last dimension, with what the model does before and after it in the same pass. */
import { native } from '../native.js';
import type { Activation, RawTensor } from '../types.js';

export interface LayerNormOptions {
  /** [D] */
  weight?: RawTensor | null;
  /** [D] */
  bias?: RawTensor | null;
  eps: number;
  /** Added to x first. */
  residual?: RawTensor | null;
  activation?: Activation;
  /** Added to the result. */
  after?: RawTensor | null;
}

/**
 * s = x + residual; y = act((s - mean) rstd weight + bias) + after. `sum` is s (x itself under a new handle when there is
 * no residual); `mean` and `rstd` are f32 [rows]. The variance is the biased one.
 */
export function layerNorm(
  x: RawTensor,
  options: LayerNormOptions,
): { y: RawTensor; sum: RawTensor; mean: RawTensor; rstd: RawTensor } {
  return native.layerNorm!(x, options) as { y: RawTensor; sum: RawTensor; mean: RawTensor; rstd: RawTensor };
}

/**
 * Gradient to `sum` (that is to x and to residual alike; the gradient to `after` is dy). dWeight and dBias, f32 [D], are
 * accumulated into.
 */
export function layerNormBackward(
  dy: RawTensor,
  sum: RawTensor,
  mean: RawTensor,
  rstd: RawTensor,
  options?: {
    weight?: RawTensor | null;
    bias?: RawTensor | null;
    activation?: Activation;
    dWeight?: RawTensor | null;
    dBias?: RawTensor | null;
  },
): RawTensor {
  return native.layerNormBackward!(dy, sum, mean, rstd, options) as RawTensor;
}
