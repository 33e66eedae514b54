/** Multi-head attention without a tensor of all scores. */
import { native } from '../native.js';
import type { RawTensor, RngKey } from '../types.js';

export interface AttentionOptions {
  /** Divides the width D. */
  heads: number;
  /** 1 / sqrt(D / heads) unless given. */
  scale?: number;
  /** u8 [B, Tk]; 1 removes the key. A row without keys gives 0. */
  keyPadding?: RawTensor | null;
  /**
   * Adds -slope[h] * distance to the scores. Positions i32 [B, T, P]; the distance is the sum of the absolute
   * differences, or with `euclidean` the root of the sum of squares; 0 where the first coordinate of either is negative.
   */
  alibi?: {
    /** f32 [heads] */
    slopes: RawTensor;
    positionsQ: RawTensor;
    positionsK: RawTensor;
    euclidean?: boolean;
  } | null;
  /** f32 [heads, Tq, Tk] or [B, heads, Tq, Tk], added to the scores. */
  bias?: RawTensor | null;
  /** Probability of dropping an attention weight; needs `key`. */
  dropout?: number;
  key?: RngKey;
}

/**
 * q is [B, T, 3 D] (q, k, v packed) with kv null, or [B, Tq, D] with kv [B, Tk, 2 D]. Gives out [B, Tq, D] and lse f32
 * [B, heads, Tq], the logarithm of the sum of the exponentials of each row's scores.
 */
export function attention(
  q: RawTensor,
  kv: RawTensor | null,
  options: AttentionOptions,
): { out: RawTensor; lse: RawTensor } {
  return native.attention!(q, kv, options) as { out: RawTensor; lse: RawTensor };
}

/** dq is packed like q when kv is null (then dkv is null). dSlopes f32 [heads] and dBias only where those were given. */
export function attentionBackward(
  dout: RawTensor,
  out: RawTensor,
  lse: RawTensor,
  q: RawTensor,
  kv: RawTensor | null,
  options: AttentionOptions,
): { dq: RawTensor; dkv: RawTensor | null; dSlopes: RawTensor | null; dBias: RawTensor | null } {
  return native.attentionBackward!(dout, out, lse, q, kv, options) as {
    dq: RawTensor;
    dkv: RawTensor | null;
    dSlopes: RawTensor | null;
    dBias: RawTensor | null;
  };
}
