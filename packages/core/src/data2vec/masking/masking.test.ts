import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Philox } from '../../random.js';
import { maskBlocks1d, maskBlocks2d } from './blocks.js';
import { makeMaskInfo } from './info.js';
import { maskRandom } from './random.js';
import { roundHalfEven } from './sampling.js';
import { maskSpans } from './spans.js';

const seeded = (seed: number) => {
  const root = new Philox(seed);
  return (row: number) => root.fork('row', row);
};
const counts = (mask: Uint8Array, rows: number) => {
  const tokens = mask.length / rows;
  return Array.from({ length: rows }, (_, r) =>
    mask.subarray(r * tokens, (r + 1) * tokens).reduce((a, b) => a + b, 0),
  );
};
const seed = fc.integer({ min: 0, max: 2 ** 31 });
const rows = fc.integer({ min: 1, max: 6 });
const share = fc.double({ min: 0.05, max: 0.95, noNaN: true });

describe('block masks', () => {
  it('have the exact count in every row, on any grid', () => {
    fc.assert(
      fc.property(
        seed,
        rows,
        fc.tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 12 })),
        fc.record({
          maskProb: share,
          maskLength: fc.integer({ min: 1, max: 6 }),
          maskProbAdjust: fc.double({ min: 0, max: 0.2, noNaN: true }),
          inverseMask: fc.boolean(),
        }),
        (s, n, grid, options) => {
          const tokens = grid[0] * grid[1];
          const blocks = Math.trunc(tokens * (options.inverseMask ? 1 - options.maskProb : options.maskProb));
          const expected = options.inverseMask ? tokens - blocks : blocks;
          for (const mask of [
            maskBlocks2d(n, grid, options, seeded(s)),
            maskBlocks1d(n, tokens, options, seeded(s)),
          ]) {
            expect(counts(mask, n)).toEqual(Array(n).fill(expected));
            expect(mask.every((v) => v === 0 || v === 1)).toBe(true);
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  it("do not depend on the number of rows: a row's mask is its stream's", () => {
    const options = { maskProb: 0.8, maskLength: 3, inverseMask: true };
    const all = maskBlocks2d(5, [8, 8], options, seeded(4));
    const two = maskBlocks2d(2, [8, 8], options, seeded(4));
    expect(all.subarray(0, 128)).toEqual(two);
    expect(all.subarray(128, 192)).not.toEqual(all.subarray(0, 64));
  });

  it('are cut off at the border, not moved', () => {
    // One centre: every block is the intersection of a square with the grid, before tokens are added.
    const mask = maskBlocks2d(400, [6, 6], { maskProb: 9 / 36, maskLength: 3 }, seeded(5));
    const corner = counts(mask, 400).length;
    expect(corner).toBe(400);
    let corners = 0;
    let middles = 0;
    for (let r = 0; r < 400; r++) {
      corners += mask[r * 36]!;
      middles += mask[r * 36 + 14]!;
    }
    expect(corners).toBeLessThan(middles);
  });
});

describe('span masks', () => {
  const options = fc.record({
    maskProb: share,
    maskLength: fc.integer({ min: 1, max: 12 }),
    minMasks: fc.constant(1),
    addMasks: fc.boolean(),
    maskDropout: fc.constantFrom(0, 0.1, 0.5),
  });

  it('have equal counts and never touch padding unless a row has nothing else', () => {
    fc.assert(
      fc.property(
        seed,
        fc.integer({ min: 2, max: 60 }),
        fc.array(fc.integer({ min: 2, max: 60 }), { minLength: 1, maxLength: 6 }),
        options,
        (s, tokens, lens, o) => {
          const lengths = lens.map((l) => Math.min(l, tokens));
          const mask = maskSpans(lengths.length, tokens, { ...o, lengths }, seeded(s));
          const n = counts(mask, lengths.length);
          expect(new Set(n).size).toBe(1);
          expect(n[0]).toBeLessThan(tokens);
          lengths.forEach((length, r) => {
            const padded = mask.subarray(r * tokens + length, (r + 1) * tokens).reduce((a, b) => a + b, 0);
            if (!o.addMasks || n[0]! <= length) {
              if (!(o.addMasks && o.maskDropout > 0)) expect(padded).toBe(0);
            }
          });
        },
      ),
      { numRuns: 300 },
    );
  });

  it('always leave a token of a short row', () => {
    for (let s = 0; s < 50; s++) {
      const mask = maskSpans(1, 3, { maskProb: 0.9, maskLength: 5, minMasks: 1 }, seeded(s));
      expect(counts(mask, 1)[0]).toBeLessThan(3);
    }
  });

  it('are whole spans when rows need not agree', () => {
    const mask = maskSpans(
      20,
      100,
      { maskProb: 0.3, maskLength: 7, requireSameMasks: false, minMasks: 1 },
      seeded(9),
    );
    for (let r = 0; r < 20; r++) {
      const text = [...mask.subarray(r * 100, (r + 1) * 100)].join('');
      for (const run of text.match(/1+/g) ?? []) expect(run.length).toBeGreaterThanOrEqual(7);
    }
  });
});

describe('random masks', () => {
  it('keep floor(tokens * (1 - p)) tokens', () => {
    fc.assert(
      fc.property(seed, rows, fc.integer({ min: 1, max: 80 }), share, (s, n, tokens, p) => {
        const mask = maskRandom(n, tokens, p, seeded(s));
        expect(counts(mask, n)).toEqual(Array(n).fill(tokens - Math.trunc(tokens * (1 - p))));
      }),
    );
  });
});

describe('makeMaskInfo', () => {
  it('restores every token to its place, kept and masked in ascending order', () => {
    fc.assert(
      fc.property(seed, rows, fc.integer({ min: 2, max: 40 }), share, (s, n, tokens, p) => {
        const mask = maskRandom(n, tokens, p, seeded(s));
        const masked = counts(mask, n)[0]!;
        fc.pre(masked > 0 && masked < tokens);
        const info = makeMaskInfo(mask, n, tokens);
        expect(info.keptPerRow + info.maskedPerRow).toBe(tokens);
        for (let r = 0; r < n; r++) {
          const keep = [...info.keep.subarray(r * info.keptPerRow, (r + 1) * info.keptPerRow)];
          const gone = [...info.masked.subarray(r * masked, (r + 1) * masked)];
          expect(keep).toEqual([...keep].sort((a, b) => a - b));
          expect(gone).toEqual([...gone].sort((a, b) => a - b));
          const order = [...keep, ...gone];
          expect(order.map((_, t) => order[info.restore[r * tokens + t]!])).toEqual(order.map((_, t) => t));
          for (const t of gone) expect(mask[r * tokens + t]).toBe(1);
        }
      }),
    );
  });

  it('shows some masked tokens to the student with keepMaskedPct, still predicting all of them', () => {
    const mask = Uint8Array.from([1, 0, 1, 1, 0, 1, 1, 1, 0, 1, 0, 1]);
    const plain = makeMaskInfo(mask, 1, 12, { keepMaskedPct: 0.25 });
    expect(plain.maskedPerRow).toBe(8);
    expect([...plain.keep]).toEqual([1, 4, 8, 10, 0, 2]);
    expect(plain.restore[0]).toBe(4);
    expect(plain.restore[3]).toBe(6);
    const drawn = makeMaskInfo(mask, 1, 12, { keepMaskedPct: 0.25, random: seeded(3) });
    expect([...drawn.keep].slice(0, 4)).toEqual([1, 4, 8, 10]);
    expect([...drawn.restore].sort((a, b) => a - b)).toEqual([...Array(12).keys()]);
    expect([...drawn.masked]).toEqual([0, 2, 3, 5, 6, 7, 9, 11]);
  });

  it('says what is wrong with a mask that cannot be used', () => {
    expect(() => makeMaskInfo(Uint8Array.from([1, 0, 1, 1]), 2, 2)).toThrow(
      /row 1 .* 2 masked tokens, row 0 has 1/,
    );
    expect(() => makeMaskInfo(new Uint8Array(4), 1, 4)).toThrow(/raise mask_prob/);
    expect(() => makeMaskInfo(new Uint8Array(4).fill(1), 1, 4)).toThrow(/lower mask_prob/);
    expect(() => makeMaskInfo(new Uint8Array(3), 1, 4)).toThrow(/must have 4 values/);
  });
});

it('rounds halves to even', () => {
  expect([0.5, 1.5, 2.5, 3.4, 3.6, 7].map(roundHalfEven)).toEqual([0, 2, 2, 3, 4, 7]);
});
