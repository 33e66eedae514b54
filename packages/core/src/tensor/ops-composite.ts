/** Operations put together from others: the pattern for a plugin's own, no native code needed. */

import { transpose } from './ops-basic.js';
import { layerNorm } from './ops-fused.js';
import type { Tensor } from './tensor.js';

/** Normalises x [B,T,D] over time, each channel of each sample for itself (biased variance, no affine). */
export function instanceNorm(x: Tensor, eps = 1e-5): Tensor {
  return transpose(layerNorm(transpose(x, [0, 2, 1]), { eps }), [0, 2, 1]);
}
