/** Span masks of wav2vec 2.0 and data2vec: spans of a fixed length at random starts, which may overlap. */
import type { Philox } from '../../random.js';
import { chooseFirst, equaliseRow, positionsOf, type RowRandom, roundHalfEven } from './sampling.js';

export interface SpanMaskOptions {
  /** Share of tokens that the spans would cover if they did not overlap. */
  maskProb: number;
  /** Length of a span in tokens. */
  maskLength: number;
  /** Smallest number of spans per row. Default 0. */
  minMasks?: number;
  /** Give all rows the same number of masked tokens. Default true. */
  requireSameMasks?: boolean;
  /** Equalise to the largest count by adding single tokens; otherwise to the smallest by removing some. */
  addMasks?: boolean;
  /** Share of the masked tokens of each row that is unmasked again in the end. */
  maskDropout?: number;
  /** Length of each row without its padding: padded tokens are not masked. Default: all rows are full. */
  lengths?: ArrayLike<number>;
}

/**
 * Draws span masks. A row always keeps at least one token.
 * @returns `[rows, tokens]`, 1 = masked; equal counts per row with `requireSameMasks`
 */
export function maskSpans(
  rows: number,
  tokens: number,
  options: SpanMaskOptions,
  random: RowRandom,
): Uint8Array {
  const { requireSameMasks = true, addMasks = false, maskDropout = 0, lengths } = options;
  const mask = new Uint8Array(rows * tokens);
  const counts = new Int32Array(rows);
  const scratch = new Int32Array(tokens + 2);
  const streams: Philox[] = [];
  for (let row = 0; row < rows; row++) {
    const rng = random(row);
    streams.push(rng);
    counts[row] = drawSpans(mask, row * tokens, lengths?.[row] ?? tokens, options, scratch, rng);
  }
  const target = addMasks
    ? counts.reduce((a, b) => Math.max(a, b), 0)
    : counts.reduce((a, b) => Math.min(a, b));
  for (let row = 0; row < rows; row++) {
    const rng = streams[row]!;
    const start = row * tokens;
    let count = counts[row]!;
    if (requireSameMasks && count !== target) {
      // Real tokens first; padding only where a short row has nothing else to add.
      const length = lengths?.[row] ?? tokens;
      const within = Math.min(target, length);
      equaliseRow(mask, start, length, count, within, scratch, rng);
      equaliseRow(mask, start, tokens, within, target, scratch, rng);
      count = target;
    }
    const holes = roundHalfEven(count * maskDropout);
    equaliseRow(mask, start, tokens, count, count - holes, scratch, rng);
  }
  return mask;
}

/** Masks one row; returns the number of masked tokens. */
function drawSpans(
  mask: Uint8Array,
  start: number,
  length: number,
  { maskProb, maskLength, minMasks = 0 }: SpanMaskOptions,
  scratch: Int32Array,
  rng: Philox,
): number {
  const spans = Math.max(minMasks, Math.trunc((maskProb * length) / maskLength + rng.uniform()));
  if (spans === 0 || length === 0) return 0;
  // Starts come from the front so that spans fit, unless there are too few places for that.
  const places = length - maskLength <= spans ? spans + 1 : length - maskLength;
  const starts = places > scratch.length ? new Int32Array(places) : scratch;
  for (let i = 0; i < places; i++) starts[i] = i;
  chooseFirst(starts, places, spans, rng);
  let count = 0;
  for (let i = 0; i < spans; i++) {
    const end = Math.min(length, starts[i]! + maskLength);
    for (let t = starts[i]!; t < end; t++) {
      count += 1 - mask[start + t]!;
      mask[start + t] = 1;
    }
  }
  if (count === length) {
    positionsOf(mask, start, length, 1, scratch);
    mask[start + scratch[rng.int(length)]!] = 0;
    count--;
  }
  return count;
}
