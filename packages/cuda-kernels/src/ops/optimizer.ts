/** One pass over the flat f32 arenas. */
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
}

/**
 * Adam with decoupled decay: m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, p -= lr wd p,
 * p -= lr sqrt(1 - b2^step) / (1 - b1^step) m / (sqrt(v) + eps). All tensors f32 of one shape.
 */
export function adam_(p: RawTensor, g: RawTensor, m: RawTensor, v: RawTensor, options: AdamOptions): void {
  native.adam_!(p, g, m, v, options);
}

/** teacher = decay teacher + (1 - decay) student; left alone at decay 1. */
export function ema_(teacher: RawTensor, student: RawTensor, decay: number): void {
  native.ema_!(teacher, student, decay);
}
