/** The masks a modality draws by default. */
import type { ModalityConfig } from './config.js';
import { maskRandom, maskSpans, type RowRandom } from './masking/index.js';
import type { TokenLayout } from './modality-encoder.js';

/**
 * Single tokens for `mask_length` 1 (padding or not), otherwise spans that leave padding alone. `inverse_mask` draws the
 * tokens to keep.
 * @returns `[samples * clones, tokens]`, 1 = masked
 */
export function drawMask(
  config: Pick<ModalityConfig, 'mask_length' | 'inverse_mask' | 'add_masks' | 'mask_dropout'>,
  { samples, tokens, padding }: TokenLayout,
  clones: number,
  maskProb: number,
  random: RowRandom,
): Uint8Array {
  const rows = samples * clones;
  if (config.mask_length === 1) return maskRandom(rows, tokens, maskProb, random);
  const lengths = new Int32Array(rows).fill(tokens);
  if (padding) {
    for (let row = 0; row < rows; row++) {
      const start = Math.floor(row / clones) * tokens;
      for (let t = 0; t < tokens; t++) lengths[row]! -= padding[start + t]!;
    }
  }
  const mask = maskSpans(
    rows,
    tokens,
    {
      maskProb: config.inverse_mask ? 1 - maskProb : maskProb,
      maskLength: config.mask_length,
      minMasks: 1,
      addMasks: config.add_masks,
      maskDropout: config.mask_dropout,
      lengths,
    },
    random,
  );
  if (config.inverse_mask) for (let i = 0; i < mask.length; i++) mask[i] = 1 - mask[i]!;
  return mask;
}
