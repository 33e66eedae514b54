/** Losses: each computes its value (in f64) and its gradient in one pass. */

import type { RawTensor } from '@d2v/cuda-kernels';
import * as k from '@d2v/cuda-kernels';
import { record } from './autograd.js';
import { fusedGradients } from './gradients-fused.js';
import type { CrossEntropyOptions, MaskedLossOptions } from './op-options.js';
import { withExact } from './ops-basic.js';
import { Tensor } from './tensor.js';

/** A scalar on the tape from a value (f64 [1]) and a gradient that are both computed already. */
function loss(
  name: string,
  rule: typeof fusedGradients.maskedLoss | typeof fusedGradients.crossEntropy,
  input: Tensor,
  value: RawTensor,
  gradient: RawTensor,
): Tensor {
  const out = k.cast(value, 'f32');
  const saved = { dpred: gradient, dlogits: gradient };
  return withExact(record(name, rule, [input], out, saved, [gradient]), value);
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

/** Cross-entropy of logits [N,C] against labels i32 [N], summed; `count` (one element) is the number of rows that took part. */
export function crossEntropy(
  logits: Tensor,
  labels: RawTensor,
  options: CrossEntropyOptions = {},
): { loss: Tensor; count: Tensor } {
  const r = k.crossEntropy(logits.raw, labels, { ...options, gradScale: 1 });
  return {
    loss: loss('crossEntropy', fusedGradients.crossEntropy, logits, r.loss, r.dlogits),
    count: new Tensor(r.count),
  };
}
