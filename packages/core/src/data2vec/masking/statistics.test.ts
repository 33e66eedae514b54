/**
 * The generators against statistics of the reference's: 2000 draws each. The limits are in standard errors, stated with
 * each check; every test has a fixed seed.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Philox } from '../../random.js';
import { maskBlocks2d } from './blocks.js';
import { maskRandom } from './random.js';
import { maskSpans } from './spans.js';

interface Reference {
  draws: number;
  tokens: number;
  maskedPerRow: { min: number; mean: number; max: number };
  maskedRuns: { mean: number; runs_per_row: number };
  keptRuns: { mean: number; runs_per_row: number };
  frequency: number[];
  beforeEqualising?: { mean: number; std: number };
  keptNeighbourPairs?: number;
}

const reference: Record<string, Reference> = JSON.parse(
  readFileSync(new URL('./fixtures/mask-statistics.json', import.meta.url), 'utf8'),
);
const DRAWS = 4000;

/** Runs of equal values in row-major order, mean length and number per row. */
function runs(mask: Uint8Array, tokens: number, value: 0 | 1) {
  const rows = mask.length / tokens;
  let count = 0;
  let total = 0;
  for (let r = 0; r < rows; r++) {
    for (let t = 0; t < tokens; t++) {
      if (mask[r * tokens + t] !== value) continue;
      total++;
      if (t === 0 || mask[r * tokens + t - 1] !== value) count++;
    }
  }
  return { mean: total / count, perRow: count / rows };
}

function frequency(mask: Uint8Array, tokens: number): Float64Array {
  const f = new Float64Array(tokens);
  const rows = mask.length / tokens;
  for (let i = 0; i < mask.length; i++) f[i % tokens]! += mask[i]! / rows;
  return f;
}

/**
 * Compares frequencies position by position. z is the difference in standard errors of both samples together; the mean
 * of z squared is 1 with a standard deviation of sqrt(2 / tokens) times the correlation between neighbours (below 3 for
 * blocks of 9 and spans of 5).
 */
function expectSameFrequency(mask: Uint8Array, ref: Reference, draws = DRAWS): void {
  const ours = frequency(mask, ref.tokens);
  let sum = 0;
  let n = 0;
  for (let t = 0; t < ref.tokens; t++) {
    const p = (ours[t]! * draws + ref.frequency[t]! * ref.draws) / (draws + ref.draws);
    if (p === 0 || p === 1) continue;
    const z = (ours[t]! - ref.frequency[t]!) / Math.sqrt(p * (1 - p) * (1 / draws + 1 / ref.draws));
    expect(Math.abs(z), `position ${t}`).toBeLessThan(5);
    sum += z * z;
    n++;
  }
  expect(n).toBeGreaterThan(0.97 * ref.tokens);
  expect(Math.abs(sum / n - 1)).toBeLessThan(5 * 3 * Math.sqrt(2 / n));
}

/** Run lengths within 1.5 %: five standard errors of the sample (their spread is below 15 % per row). */
function expectSameRuns(mask: Uint8Array, ref: Reference): void {
  const pairs = [
    [runs(mask, ref.tokens, 1), ref.maskedRuns],
    [runs(mask, ref.tokens, 0), ref.keptRuns],
  ] as const;
  for (const [ours, theirs] of pairs) {
    expect(ours.mean / theirs.mean).toBeGreaterThan(0.985);
    expect(ours.mean / theirs.mean).toBeLessThan(1.015);
    expect(ours.perRow / theirs.runs_per_row).toBeGreaterThan(0.985);
    expect(ours.perRow / theirs.runs_per_row).toBeLessThan(1.015);
  }
}

describe.each([
  ['image_base', 0.8, 0.07],
  ['image_large', 0.75, 0.1],
] as const)('%s: inverse blocks', (name, maskProb, maskProbAdjust) => {
  const ref = reference[name]!;
  const root = new Philox(11);
  const mask = maskBlocks2d(
    DRAWS,
    [14, 14],
    { maskProb, maskLength: 3, maskProbAdjust, inverseMask: true },
    (row) => root.fork(name, row),
  );

  it('masks as many tokens in every row', () => {
    for (let r = 0; r < DRAWS; r++) {
      const count = mask.subarray(r * 196, (r + 1) * 196).reduce((a, b) => a + b, 0);
      expect(count).toBe(ref.maskedPerRow.mean);
    }
  });
  it('masks each position as often', () => expectSameFrequency(mask, ref));
  it('has runs of the same length', () => expectSameRuns(mask, ref));
  it('keeps as many neighbouring pairs', () => {
    let pairs = 0;
    for (let i = 0; i < mask.length; i++) {
      if (mask[i]) continue;
      if (i % 14 < 13 && !mask[i + 1]) pairs++;
      if (i % 196 < 182 && !mask[i + 14]) pairs++;
    }
    // Spread per row is about 5 pairs: 5 * sqrt(1/4000 + 1/2000) = 0.14 is one standard error.
    expect(Math.abs(pairs / DRAWS - ref.keptNeighbourPairs!)).toBeLessThan(0.7);
  });
});

describe.each([
  ['audio_base', 0.5],
  ['audio_large', 0.55],
] as const)('%s: spans', (name, maskProb) => {
  const ref = reference[name]!;
  const root = new Philox(12);
  const options = { maskProb, maskLength: 5, minMasks: 1 };

  it('is the same in sets of 16 rows with equal counts', () => {
    const mask = new Uint8Array(DRAWS * ref.tokens);
    for (let call = 0; call < DRAWS / 16; call++) {
      const rows = maskSpans(16, ref.tokens, options, (row) => root.fork(name, call, row));
      mask.set(rows, call * 16 * ref.tokens);
    }
    const mean = mask.reduce((a, b) => a + b, 0) / DRAWS;
    // The smallest of 16 counts has a spread of about 4; there are 250 sets here and 125 there.
    expect(Math.abs(mean - ref.maskedPerRow.mean)).toBeLessThan(5 * 4 * Math.sqrt(1 / 250 + 1 / 125));
    // The common share of masked tokens differs between the samples, so compare the shape of the frequencies.
    const share = ref.maskedPerRow.mean / mean;
    const ours = frequency(mask, ref.tokens);
    for (let t = 0; t < ref.tokens; t++)
      expect(Math.abs(ours[t]! * share - ref.frequency[t]!)).toBeLessThan(0.06);
    expect(ours[ref.tokens - 1]).toBe(0);
    expectSameRuns(mask, ref);
  });

  it('is the same without equal counts', () => {
    const mask = maskSpans(DRAWS, ref.tokens, { ...options, requireSameMasks: false }, (row) =>
      root.fork(name, 'single', row),
    );
    const counts = Array.from({ length: DRAWS }, (_, r) =>
      mask.subarray(r * ref.tokens, (r + 1) * ref.tokens).reduce((a, b) => a + b, 0),
    );
    const mean = counts.reduce((a, b) => a + b, 0) / DRAWS;
    const std = Math.sqrt(counts.reduce((a, b) => a + (b - mean) ** 2, 0) / DRAWS);
    const before = ref.beforeEqualising!;
    expect(Math.abs(mean - before.mean)).toBeLessThan(5 * before.std * Math.sqrt(1 / DRAWS + 1 / ref.draws));
    // Standard error of a standard deviation: std / sqrt(2 n).
    expect(Math.abs(std - before.std)).toBeLessThan(
      5 * before.std * Math.sqrt(0.5 / DRAWS + 0.5 / ref.draws),
    );
  });
});

describe('text_base: random tokens', () => {
  const ref = reference.text_base!;
  const root = new Philox(13);
  const mask = maskRandom(DRAWS, ref.tokens, 0.48, (row) => root.fork(row));
  it('masks each position as often', () => expectSameFrequency(mask, ref));
  it('has runs of the same length', () => expectSameRuns(mask, ref));
});
