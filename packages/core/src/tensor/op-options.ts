/**
 * Options of the operations. Apart from them, so that the namespace `ops` holds functions only: bundled declarations
 * cannot express a namespace of both.
 */
import type { RawTensor, RngKey } from '@d2v/cuda-kernels';
import type { Tensor } from './tensor.js';

export interface MatmulOptions {
  /** a is stored transposed, [..., K, M]. */
  transA?: boolean;
  /** b is stored transposed, [..., N, K]. */
  transB?: boolean;
  alpha?: number;
}

export type Activation = 'none' | 'gelu';

export interface LayerNormOptions {
  weight?: Tensor | null;
  bias?: Tensor | null;
  eps: number;
  /** Added to x before the norm. */
  residual?: Tensor | null;
  activation?: Activation;
  /** Added to the result. */
  after?: Tensor | null;
}

export interface AlibiBias {
  /** f32 [heads], differentiable: bias = -slope * distance. */
  slopes: Tensor;
  /** i32 [B,Tq,P]; a first coordinate below 0 gives the token bias 0. */
  positionsQ: RawTensor;
  /** i32 [B,Tk,P]. */
  positionsK: RawTensor;
  /** Distance: euclidean, else the sum of the absolute differences. */
  euclidean?: boolean;
}

export interface AttentionOptions {
  heads: number;
  /** Default: 1 / sqrt(width of a head). */
  scale?: number;
  /** u8 [B,Tk], 1 removes the key. */
  keyPadding?: RawTensor | null;
  alibi?: AlibiBias | null;
  /** f32 [heads,Tq,Tk] or [B,heads,Tq,Tk], added to the scores. */
  bias?: Tensor | null;
  /** Dropout of the attention weights; needs `key`. */
  dropout?: number;
  key?: RngKey;
}

export interface ConvOptions {
  /** One number per spatial dimension (1 or 2 of them). */
  stride: number[];
  /** Zeros before and after, per spatial dimension. */
  padding: [number, number][];
  groups: number;
}

export type PatchLayout = 'cpq' | 'pqc';

export interface MaskedLossOptions {
  /** 0: squared error; above: smooth L1 with this beta. */
  beta?: number;
  /** Factor on every element, e.g. 1 / sqrt(D). */
  scale?: number;
}

export interface CrossEntropyOptions {
  /** Label smoothing: this share of the mass goes to all classes evenly. */
  smoothing?: number;
  /** Rows with this label are left out. */
  ignore?: number;
}
