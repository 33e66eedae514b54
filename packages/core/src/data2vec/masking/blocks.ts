/**
 * Block masks (data2vec 2.0, section 3.3): squares on a grid or intervals on a line around random centres, then single
 * tokens added or removed at random until every row has exactly the wanted number.
 */
import { D2vError } from '../../errors.js';
import { equaliseRow, type RowRandom } from './sampling.js';

export interface BlockMaskOptions {
  /** Share of tokens to mask. */
  maskProb: number;
  /** Side of a block in tokens. */
  maskLength: number;
  /** Added to the share of block tokens when the number of centres is chosen; the final count does not change. */
  maskProbAdjust?: number;
  /** Draw the blocks to keep and mask the rest. */
  inverseMask?: boolean;
  /** Draws a larger number of centres by this share, as the reference does. */
  maskDropout?: number;
}

/**
 * Masks squares on a grid. Blocks are cut off at the border (coordinates beyond it are clamped to it).
 * @param rows number of rows
 * @param grid height and width in tokens
 * @returns `[rows, height * width]`, 1 = masked; every row has the same count
 */
export function maskBlocks2d(
  rows: number,
  grid: readonly [number, number],
  options: BlockMaskOptions,
  random: RowRandom,
): Uint8Array {
  const [height, width] = grid;
  const { maskLength } = options;
  const before = Math.floor(maskLength / 2);
  const after = maskLength - 1 - before;
  return blockMask(rows, height * width, maskLength * maskLength, options, random, (mask, start, centre) => {
    const y = Math.floor(centre / width);
    const x = centre % width;
    const x1 = Math.min(width - 1, x + after);
    const y1 = Math.min(height - 1, y + after);
    for (let j = Math.max(0, y - before); j <= y1; j++) {
      const line = start + j * width;
      mask.fill(1, line + Math.max(0, x - before), line + x1 + 1);
    }
  });
}

/**
 * Masks intervals of a sequence; otherwise like {@link maskBlocks2d}.
 * @returns `[rows, tokens]`, 1 = masked; every row has the same count
 */
export function maskBlocks1d(
  rows: number,
  tokens: number,
  options: BlockMaskOptions,
  random: RowRandom,
): Uint8Array {
  const before = Math.floor(options.maskLength / 2);
  const after = options.maskLength - 1 - before;
  return blockMask(rows, tokens, options.maskLength, options, random, (mask, start, centre) => {
    mask.fill(1, start + Math.max(0, centre - before), start + Math.min(tokens - 1, centre + after) + 1);
  });
}

function blockMask(
  rows: number,
  tokens: number,
  blockSize: number,
  options: BlockMaskOptions,
  random: RowRandom,
  draw: (mask: Uint8Array, start: number, centre: number) => void,
): Uint8Array {
  const { maskProb, maskLength, maskProbAdjust = 0, inverseMask = false, maskDropout = 0 } = options;
  if (!(maskLength >= 1)) throw new D2vError(`mask_length must be at least 1, not ${maskLength}`);
  const share = inverseMask ? 1 - maskProb : maskProb;
  const centres = Math.trunc(tokens * ((share + maskProbAdjust) / blockSize) * (1 + maskDropout));
  const target = Math.trunc(tokens * share);
  const mask = new Uint8Array(rows * tokens);
  const scratch = new Int32Array(tokens);
  for (let row = 0; row < rows; row++) {
    const rng = random(row);
    const start = row * tokens;
    for (let i = 0; i < centres; i++) draw(mask, start, rng.int(tokens));
    let count = 0;
    for (let i = start; i < start + tokens; i++) count += mask[i]!;
    equaliseRow(mask, start, tokens, count, target, scratch, rng);
  }
  if (inverseMask) for (let i = 0; i < mask.length; i++) mask[i] = 1 - mask[i]!;
  return mask;
}
