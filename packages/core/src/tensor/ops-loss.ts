/** Losses: each computes its value (in f64, on the host) and its gradient in one pass. */

import type { RawTensor } from '@d2v/cuda-kernels';
import * as k from '@d2v/cuda-kernels';
import { record } from './autograd.js';
import { fusedGradients } from './gradients-fused.js';
import type { CrossEntropyOptions, MaskedLossOptions } from './op-options.js';
import type { Tensor } from './tensor.js';

/** A scalar on the tape from a value and a gradient that are both known already. */
function loss(
  name: string,
  rule: typeof fusedGradients.maskedLoss | typeof fusedGradients.crossEntropy,
  input: Tensor,
  value: number,
  gradient: RawTensor,
): Tensor {
  const out = k.full([1], value, 'f32', input.device);
  const saved = { dpred: gradient, dlogits: gradient };
  const y = record(name, rule, [input], out, saved, [gradient]);
  y.hostValue = value;
  return y;
}

/**
 * The regression loss of data2vec, summed over elements: pred [R,N,D] against target f32 [B,T,D] (no gradient) at the
 * positions ids i32 [R,N]; row r belongs to sample r / (R/B), so targets are not repeated per clone.
 *
 * @returns one element; `item()` is its f64 value
 */
export function maskedLoss(
  pred: Tensor,
  target: RawTensor,
  ids: RawTensor,
  options: MaskedLossOptions = {},
): Tensor {
  const { beta = 0, scale = 1 } = options;
  const { loss: value, dpred } = k.maskedLoss(pred.raw, target, ids, { beta, scale, gradScale: 1 });
  return loss('maskedLoss', fusedGradients.maskedLoss, pred, value, dpred);
}

/** Cross-entropy of logits [N,C] against labels i32 [N], summed; `count` is the number of rows that took part. */
export function crossEntropy(
  logits: Tensor,
  labels: RawTensor,
  options: CrossEntropyOptions = {},
): { loss: Tensor; count: number } {
  const r = k.crossEntropy(logits.raw, labels, { ...options, gradScale: 1 });
  return {
    loss: loss('crossEntropy', fusedGradients.crossEntropy, logits, r.loss, r.dlogits),
    count: r.count,
  };
}
