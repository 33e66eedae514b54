/** What happens to the gradients: one pass over the flat f32 arenas, without the host. */
import { native } from '../native.js';
import type { RawTensor } from '../types.js';

export interface AdamOptions {
  lr: number;
  beta1: number;
  beta2: number;
  eps: number;
  weightDecay?: number;
  /** 1 for the first update. */
  step: number;
  /** The gradient is multiplied by this first. */
  gradScale?: number;
  /** Leaves g zero. */
  zeroGrad?: boolean;
  /** Averaged in the same pass: teacher = emaDecay teacher + (1 - emaDecay) p; left alone at emaDecay 1. */
  teacher?: RawTensor | null;
  emaDecay?: number;
  /** From `gradControl`: its factor replaces gradScale, and an update that is not applied only zeroes g (zeroGrad). */
  control?: RawTensor | null;
}

/**
 * Decides about an update on the device: f64 [3], the global norm of the scaled gradients before clipping, the factor for
 * Adam, and 1, or 0 for an update that must change nothing because its norm or one of the losses is not finite.
 *
 * @param squares f64, sums of squares of all gradients
 * @param losses f64
 * @param options gradScale: factor on the gradients, default 1; clipNorm: largest norm, 0 (default) for no clipping
 */
export function gradControl(
  squares: RawTensor,
  losses?: RawTensor | null,
  options?: { gradScale?: number; clipNorm?: number },
): RawTensor {
  return native.gradControl!(squares, losses, options) as RawTensor;
}

/**
 * Adam with decoupled decay: m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, p -= lr wd p,
 * p -= lr sqrt(1 - b2^step) / (1 - b1^step) m / (sqrt(v) + eps). All tensors f32 of one shape.
 */
export function adam_(p: RawTensor, g: RawTensor, m: RawTensor, v: RawTensor, options: AdamOptions): void {
  native.adam_!(p, g, m, v, options);
}

/** teacher = decay teacher + (1 - decay) student; left alone at decay 1 and when `control` says "not applied". */
export function ema_(
  teacher: RawTensor,
  student: RawTensor,
  decay: number,
  control?: RawTensor | null,
): void {
  native.ema_!(teacher, student, decay, control);
}
