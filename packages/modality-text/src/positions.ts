/** Where tokens are: numbers as RoBERTa counts them, and the fixed vectors of the older transformer. */
import { PAD } from './special-tokens.js';

/** Rows of a table of positions beyond the largest number of tokens: numbers start behind the padding's. */
export const POSITION_OFFSET = PAD + 1;

/**
 * Position numbers of token ids [B,T]: `POSITION_OFFSET` for a sample's first token, one more for each that is no
 * padding; padding itself has the number `PAD`.
 */
export function positionNumbers(ids: Int32Array, tokens: number): Int32Array {
  const numbers = new Int32Array(ids.length);
  let next = POSITION_OFFSET;
  for (let i = 0; i < ids.length; i++) {
    if (i % tokens === 0) next = POSITION_OFFSET;
    numbers[i] = ids[i] === PAD ? PAD : next++;
  }
  return numbers;
}

/**
 * Fixed vectors of position numbers, [numbers, width]: sines of falling frequencies (1 to 1/10000), then their cosines;
 * an odd width ends with a zero. Padding gives zeros.
 */
export function sinusoids(numbers: Int32Array, width: number): Float32Array {
  const half = Math.floor(width / 2);
  const frequencies = Float32Array.from({ length: half }, (_, i) =>
    Math.exp((-Math.log(10000) * i) / Math.max(1, half - 1)),
  );
  const out = new Float32Array(numbers.length * width);
  for (let t = 0; t < numbers.length; t++) {
    if (numbers[t] === PAD) continue;
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(numbers[t]! * frequencies[i]!);
      out[t * width + i] = Math.sin(angle);
      out[t * width + half + i] = Math.cos(angle);
    }
  }
  return out;
}
