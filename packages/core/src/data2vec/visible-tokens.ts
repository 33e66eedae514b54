/** From features with positions to the tokens that the student sees. */
import * as k from '@d2v/cuda-kernels';
import type { Parameter, Tensor } from '../tensor/index.js';
import { add, gatherTokens, mul, restoreTokens } from '../tensor/ops.js';
import { replace } from './blocks.js';
import type { ModalityConfig } from './config.js';
import type { DeviceMask } from './device-mask.js';
import { maskSpans } from './masking/index.js';
import type { PositionEncoder, TokenLayout } from './modality-encoder.js';
import type { Pass } from './pass.js';

interface VisibleParts {
  relative: PositionEncoder | null;
  extra: Parameter | null;
  config: ModalityConfig;
  layout: TokenLayout;
}

/**
 * Extra tokens and what the student sees of x [B,T,D]: [R,E+K,D]; with masked tokens staying in the sequence, blanked:
 * [R,E+T,D]. Relative positions are computed from the blanked sequence. `x` stays usable.
 */
export function visibleTokens(
  x: Tensor,
  mask: DeviceMask | null,
  removeMasked: boolean,
  { relative, extra, config, layout }: VisibleParts,
  pass: Pass,
): Tensor {
  if (!relative) {
    if (!mask || removeMasked) return gatherTokens(x, mask?.keep ?? null, extra);
    const blanked = blankMasked(x, mask, config, pass);
    return replace(blanked, gatherTokens(blanked, null, extra));
  }
  const whole = mask ? blankMasked(x, mask, config, pass) : x;
  const positions = relative.forward(whole, pass, layout);
  let sum: Tensor;
  if (mask && removeMasked) {
    const kept = gatherTokens(x, mask.keep);
    const places = gatherTokens(positions, mask.keep);
    sum = replace(kept, add(kept, places));
    places.dispose();
  } else {
    sum = add(whole, positions);
  }
  positions.dispose();
  if (whole !== x) whole.dispose();
  return extra ? replace(sum, gatherTokens(sum, null, extra)) : sum;
}

/** Masked copies [R,T,D] of the features, with masked tokens (and channels) set to zero or to noise. */
function blankMasked(x: Tensor, mask: DeviceMask, config: ModalityConfig, pass: Pass): Tensor {
  const plain = mask.withoutKeptMasked;
  const { info, clones } = plain;
  const width = x.shape.at(-1)!;
  const shape: [number, number, number] = [info.rows, info.tokens - info.keptPerRow, width];
  const fill = config.encoder_zero_mask
    ? pass.own(k.zeros(shape, x.dtype, pass.device))
    : pass.noise(shape, clones, config.mask_noise_std, 'encoder-mask-noise');
  const kept = gatherTokens(x, plain.keep);
  const y = replace(kept, restoreTokens(kept, plain.restore, 0, fill));
  return config.mask_channel_prob > 0 ? replace(y, maskChannels(y, mask, config, pass)) : y;
}

/** Sets spans of channels of x [R,T,D] to zero, the same ones at all tokens of a row. */
function maskChannels(x: Tensor, { info, clones }: DeviceMask, config: ModalityConfig, pass: Pass): Tensor {
  const [rows, tokens, width] = x.shape as [number, number, number];
  const options = { maskProb: config.mask_channel_prob, maskLength: config.mask_channel_length };
  const random = (row: number) => pass.forRow('mask-channels', row, clones);
  const masked = maskSpans(info.rows, width, options, random);
  const factors = new Float32Array(rows * tokens * width);
  for (let i = 0; i < factors.length; i++) {
    factors[i] = 1 - masked[Math.floor(i / (tokens * width)) * width + (i % width)]!;
  }
  return mul(x, pass.input({ data: factors, shape: [rows, tokens, width] }));
}
