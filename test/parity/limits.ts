/** How far two correct implementations in 32-bit floating point may be apart. */
import type { Limits } from './report.js';

/** Activations. The absolute limit holds for values up to 10 and grows with larger ones. */
export function activationLimits(reference: ArrayLike<number>): Limits {
  return { rel: 2e-5, abs: 1e-4 * Math.max(1, largest(reference) / 10) };
}

export const LOSS: Limits = { rel: 2e-6 };
export const VARIANCE: Limits = { rel: 1e-5 };
/** Gradients that are next to nothing are rounding noise. */
export const GRADIENT: Limits = { rel: 1e-4, abs: 1e-8, either: true };
export const GRAD_NORM: Limits = { rel: 1e-5 };
export const AFTER_PARAM: Limits = { abs: 5e-5 };
export const TRACE_LOSS: Limits = { rel: 1e-5 };
export const TRACE_GRAD_NORM: Limits = { rel: 1e-4 };
export const TRACE_VARIANCE: Limits = { rel: 1e-4 };
export const EXACT: Limits = { rel: 1e-12, abs: 1e-12 };
/** Norms of tensors after ten steps: their elements may be 5e-5 off after one. */
export const NORM_AFTER: Limits = { rel: 1e-4, abs: 5e-5, either: true };

/** The teacher after a step: what the student may be off, times the share that goes into it. */
export function afterEma(decay: number): Limits {
  return { abs: Math.max(1e-6, 5e-5 * (1 - decay)) };
}

/**
 * Where a gradient is rounding noise, Adam magnifies it to steps of up to the learning rate. That is so for key biases,
 * which shift all scores of a query alike (their true gradient is 0), and for single elements with next to no gradient.
 */
export const NOISE = {
  grad: { abs: 1e-6 } as Limits,
  param: (lr: number): Limits => ({ abs: 2 * lr }),
  ema: (lr: number, decay: number): Limits => ({ abs: Math.max(1e-6, 2 * (1 - decay) * lr) }),
  norm: (lr: number, steps: number): Limits => ({ abs: 2 * lr * steps }),
};

/** Clipped gradients below this are noise: it is a hundred times Adam's usual epsilon. */
export const NOISE_GRADIENT = 1e-6;

/** Whether a tensor's middle third is a key bias. */
export function hasKeyBias(name: string): boolean {
  return name.endsWith('attn.qkv.bias');
}

/** The name under which the noisy elements of a tensor are compared. */
export function noiseOf(name: string): string {
  return `${name} (noise)`;
}

/** Whether a quantity consists of noisy elements. */
export function isNoise(name: string): boolean {
  return name.endsWith(' (noise)');
}

function largest(values: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]!));
  return most;
}
