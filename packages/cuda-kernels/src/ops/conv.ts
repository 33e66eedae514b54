/** Convolutions on token-major tensors [B, T, C] or [B, H, W, C], and patches. */
import { native } from '../native.js';
import type { PatchLayout, RawTensor, Shape } from '../types.js';

export interface ConvOptions {
  /** One number per spatial dimension; 1 unless given. */
  stride?: readonly number[];
  /** [low, high] zeros per spatial dimension; none unless given. */
  padding?: readonly (readonly [number, number])[];
  /** 1 unless given. */
  groups?: number;
}

/** x [B, *S, Cin], w [Cout, Cin / groups, *kernel], bias [Cout] -> [B, *S', Cout]. */
export function conv(x: RawTensor, w: RawTensor, bias?: RawTensor | null, options?: ConvOptions): RawTensor {
  return native.conv!(x, w, bias, options) as RawTensor;
}

export function convGradInput(
  dy: RawTensor,
  w: RawTensor,
  inputShape: Shape,
  options?: ConvOptions,
): RawTensor {
  return native.convGradInput!(dy, w, inputShape, options) as RawTensor;
}

/** dw and db (f32) are accumulated into. */
export function convGradWeight_(
  dw: RawTensor,
  dy: RawTensor,
  x: RawTensor,
  db?: RawTensor | null,
  options?: ConvOptions,
): void {
  native.convGradWeight_!(dw, dy, x, db, options);
}

/** images [B, C, H, W] -> [B, H W / (ph pw), C ph pw], patches in row order. */
export function patchify(
  images: RawTensor,
  patch: readonly [number, number],
  layout: PatchLayout,
): RawTensor {
  return native.patchify!(images, patch, layout) as RawTensor;
}

/** The inverse: tokens -> [B, C, H, W] for `size` [C, H, W]. */
export function unpatchify(
  tokens: RawTensor,
  size: readonly [number, number, number],
  patch: readonly [number, number],
  layout: PatchLayout,
): RawTensor {
  return native.unpatchify!(tokens, size, patch, layout) as RawTensor;
}
