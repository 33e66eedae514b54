import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Merges } from './merges.js';

/** Merges one pair at a time, by looking for the earliest one. */
function naive(symbols: number[], merges: [number, number][]): number[] {
  let current = [...symbols];
  for (;;) {
    const rank = (i: number) => merges.findIndex(([a, b]) => a === current[i] && b === current[i + 1]);
    let at = -1;
    for (let i = 0; i + 1 < current.length; i++) {
      if (rank(i) >= 0 && (at < 0 || rank(i) < rank(at))) at = i;
    }
    if (at < 0) return current;
    current = [...current.slice(0, at), 10 + rank(at), ...current.slice(at + 2)];
  }
}

describe('Merges', () => {
  it('gives what merging one pair after the other gives, for words of any length', () => {
    const pairs = fc.uniqueArray(fc.tuple(fc.nat(14), fc.nat(14)), {
      maxLength: 8,
      selector: ([a, b]) => 100 * a + b,
    });
    const word = fc.array(fc.nat(3), { maxLength: 80 });
    fc.assert(
      fc.property(pairs, word, (list, symbols) => {
        // A merge may use what an earlier one has made.
        const merges = list.map(([a, b], i): [number, number] => [a < 10 + i ? a : 0, b < 10 + i ? b : 1]);
        const table = new Merges();
        for (const [i, [a, b]] of merges.entries()) table.add(a, b, 10 + i);
        const array = Int32Array.from(symbols);
        const count = table.apply(array);
        expect([...array.subarray(0, count)]).toEqual(naive(symbols, merges));
      }),
      { numRuns: 500 },
    );
  });

  it('takes long words in little more than linear time', () => {
    const table = new Merges();
    for (let i = 0; i < 12; i++) table.add(i, i, i + 1);
    const symbols = new Int32Array(1 << 18);
    const start = performance.now();
    expect(table.apply(symbols)).toBe(1 << 6);
    expect(performance.now() - start).toBeLessThan(10_000);
  });
});
