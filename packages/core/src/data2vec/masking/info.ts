/** What a mask means for the tokens: which are kept, where they go back to, which are predicted. */
import { D2vError } from '../../errors.js';
import type { Philox } from '../../random.js';
import { chooseFirst, roundHalfEven } from './sampling.js';

/** Host-side description of the masks of a batch. R rows of T tokens, K of them kept, N of them masked. */
export interface MaskInfo {
  readonly rows: number;
  readonly tokens: number;
  readonly keptPerRow: number;
  readonly maskedPerRow: number;
  /** `[R, T]`, 1 = masked: hidden from the student and predicted. */
  readonly mask: Uint8Array;
  /** `[R, K]` positions the student sees: the unmasked ones ascending, then any masked ones kept all the same. */
  readonly keep: Int32Array;
  /** `[R, T]` for each position its place in the sequence [kept | others ascending]. */
  readonly restore: Int32Array;
  /** `[R, N]` positions of the masked tokens, ascending. */
  readonly masked: Int32Array;
}

export interface MaskInfoOptions {
  /** Share of the masked tokens that the student gets to see nevertheless. */
  keepMaskedPct?: number;
  /** Chooses those tokens per row; without it they are the first ones. */
  random?: (row: number) => Philox;
}

/**
 * Derives the kept and masked positions from a mask.
 * @param mask `[rows, tokens]`, 1 = masked
 * @throws D2vError if the rows have different numbers of masked tokens, or if nothing is masked or kept
 */
export function makeMaskInfo(
  mask: Uint8Array,
  rows: number,
  tokens: number,
  { keepMaskedPct = 0, random }: MaskInfoOptions = {},
): MaskInfo {
  if (mask.length !== rows * tokens || rows < 1) {
    throw new D2vError(
      `a mask of ${rows} x ${tokens} tokens must have ${rows * tokens} values, not ${mask.length}`,
    );
  }
  let maskedPerRow = 0;
  for (let i = 0; i < tokens; i++) maskedPerRow += mask[i]! ? 1 : 0;
  const unmasked = tokens - maskedPerRow;
  const keptPerRow = unmasked + roundHalfEven(maskedPerRow * keepMaskedPct);
  if (maskedPerRow === 0) throw new D2vError(`none of ${tokens} tokens is masked: raise mask_prob`);
  if (keptPerRow === 0) throw new D2vError(`all of ${tokens} tokens are masked: lower mask_prob`);

  const keep = new Int32Array(rows * keptPerRow);
  const restore = new Int32Array(rows * tokens);
  const masked = new Int32Array(rows * maskedPerRow);
  const order = new Int32Array(maskedPerRow);
  for (let row = 0; row < rows; row++) {
    const start = row * tokens;
    let k = 0;
    let n = 0;
    for (let i = 0; i < tokens; i++) {
      if (mask[start + i]) {
        if (n < maskedPerRow) masked[row * maskedPerRow + n] = i;
        n++;
      } else {
        if (k < unmasked) keep[row * keptPerRow + k] = i;
        restore[start + i] = k++;
      }
    }
    if (n !== maskedPerRow) {
      throw new D2vError(
        `row ${row} of the mask has ${n} masked tokens, row 0 has ${maskedPerRow}: they must agree`,
      );
    }
    order.set(masked.subarray(row * maskedPerRow, (row + 1) * maskedPerRow));
    const kept = keptPerRow - unmasked;
    if (kept > 0 && random) {
      chooseFirst(order, maskedPerRow, kept, random(row));
      order.subarray(0, kept).sort();
      order.subarray(kept).sort();
    }
    for (let i = 0; i < maskedPerRow; i++) {
      restore[start + order[i]!] = unmasked + i;
      if (i < kept) keep[row * keptPerRow + unmasked + i] = order[i]!;
    }
  }
  return { rows, tokens, keptPerRow, maskedPerRow, mask, keep, restore, masked };
}
