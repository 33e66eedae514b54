/** The teacher's target, and losses that come with their gradient. */
import { native } from '../native.js';
import type { RawTensor, TargetNorm } from '../types.js';

/**
 * acc f32 [B, T, D] += scale * norm(layer[:, skip:]), layer [B, skip + T, D]. 'instance' normalises over T per sample and
 * channel, 'layer' over D, 'batch' over B and T per channel; biased variance, eps 1e-5 unless given.
 */
export function accumulateTarget_(
  acc: RawTensor,
  layer: RawTensor,
  options?: { skip?: number; norm?: TargetNorm; scale?: number; eps?: number },
): void {
  native.accumulateTarget_!(acc, layer, options);
}

/** x [B, T, D] normalised over T per sample and channel; biased variance, eps 1e-5 unless given. */
export function instanceNorm(x: RawTensor, eps?: number): RawTensor {
  return native.instanceNorm!(x, eps) as RawTensor;
}

/**
 * pred [R, N, D] against target f32 [B, T, D] at positions ids i32 [R, N]. Element loss of d = pred - target: d^2 for beta
 * 0 (the default), otherwise smooth L1: d^2 / (2 beta) below beta, |d| - beta / 2 above. `loss` is scale times the sum over
 * all elements, f64 [1]; `dpred` its gradient times gradScale.
 */
export function maskedLoss(
  pred: RawTensor,
  target: RawTensor,
  ids: RawTensor,
  options?: { beta?: number; scale?: number; gradScale?: number },
): { loss: RawTensor; dpred: RawTensor } {
  return native.maskedLoss!(pred, target, ids, options) as { loss: RawTensor; dpred: RawTensor };
}

/**
 * Mean over channels of sqrt(unbiased variance + 1e-6) over all rows of x ([N, D] or [B, T, D]), or over the positions
 * ids i32 [R, N] of x [B, T, D]; at least two rows. f64 [1].
 */
export function featureStd(x: RawTensor, ids?: RawTensor | null): RawTensor {
  return native.featureStd!(x, ids) as RawTensor;
}

/**
 * logits [N, C], labels i32 [N]. With smoothing e every class has the target probability e / C and the label 1 - e more.
 * Rows whose label is `ignore` do not count. `loss` is a sum over `count` rows (f64 [1] both);
 * dlogits its gradient times gradScale.
 */
export function crossEntropy(
  logits: RawTensor,
  labels: RawTensor,
  options?: { smoothing?: number; ignore?: number; gradScale?: number },
): { loss: RawTensor; count: RawTensor; dlogits: RawTensor } {
  return native.crossEntropy!(logits, labels, options) as {
    loss: RawTensor;
    count: RawTensor;
    dlogits: RawTensor;
  };
}
