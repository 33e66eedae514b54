/** Masks of single tokens, uniformly at random: the text masks of data2vec 2.0. */
import { chooseFirst, type RowRandom } from './sampling.js';

/**
 * Keeps `floor(tokens * (1 - maskProb))` uniformly chosen tokens of each row and masks the rest, padding or not.
 * @returns `[rows, tokens]`, 1 = masked; every row has the same count
 */
export function maskRandom(rows: number, tokens: number, maskProb: number, random: RowRandom): Uint8Array {
  const kept = Math.trunc(tokens * (1 - maskProb));
  const mask = new Uint8Array(rows * tokens).fill(1);
  const order = new Int32Array(tokens);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < tokens; i++) order[i] = i;
    chooseFirst(order, tokens, kept, random(row));
    for (let i = 0; i < kept; i++) mask[row * tokens + order[i]!] = 0;
  }
  return mask;
}
