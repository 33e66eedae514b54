import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { textDataSchema } from '../data-config.js';
import { BYTE_CHARS } from './byte-alphabet.js';
import { learnMerges, SMALLEST_VOCABULARY, WordCounter } from './train.js';

/** Counts all pairs again for each merge. */
function naive(words: ReadonlyMap<string, number>, merges: number, least: number): [string, string][] {
  const names = [...BYTE_CHARS].sort();
  const ids = new Map(names.map((name, id) => [name, id]));
  let split = [...words].map(([word, count]) => ({
    symbols: [...Buffer.from(word)].map((byte) => ids.get(BYTE_CHARS[byte]!)!),
    count,
  }));
  const learned: [string, string][] = [];
  while (learned.length < merges) {
    const counts = new Map<string, { pair: [number, number]; count: number }>();
    for (const { symbols, count } of split) {
      for (let i = 0; i + 1 < symbols.length; i++) {
        const pair: [number, number] = [symbols[i]!, symbols[i + 1]!];
        const entry = counts.get(String(pair)) ?? { pair, count: 0 };
        counts.set(String(pair), { pair, count: entry.count + count });
      }
    }
    const [best] = [...counts.values()].sort(
      (a, b) => b.count - a.count || a.pair[0] - b.pair[0] || a.pair[1] - b.pair[1],
    );
    if (!best || best.count < least) break;
    const [left, right] = best.pair;
    learned.push([names[left]!, names[right]!]);
    names.push(names[left]! + names[right]!);
    split = split.map(({ symbols, count }) => {
      const merged: number[] = [];
      for (let i = 0; i < symbols.length; i++) {
        if (symbols[i] === left && symbols[i + 1] === right) {
          merged.push(names.length - 1);
          i++;
        } else merged.push(symbols[i]!);
      }
      return { symbols: merged, count };
    });
  }
  return learned;
}

describe('learning merges', () => {
  it('gives what counting again for each merge gives', () => {
    const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'é'), minLength: 1, maxLength: 9 });
    const words = fc.uniqueArray(fc.tuple(word, fc.integer({ min: 1, max: 5 })), {
      maxLength: 12,
      selector: ([text]) => text,
    });
    fc.assert(
      fc.property(words, fc.nat(12), fc.integer({ min: 1, max: 4 }), (list, merges, least) => {
        const counts = new Map(list);
        const options = { vocabSize: SMALLEST_VOCABULARY + merges, minFrequency: least };
        expect(learnMerges(counts, options)).toEqual(naive(counts, merges, least));
      }),
      { numRuns: 300 },
    );
  });

  it('needs room for the bytes', () => {
    for (const vocabSize of [260, 2 ** 24]) {
      expect(() => learnMerges(new Map(), { vocabSize })).toThrow('ask for 261 to 16777215');
      expect(textDataSchema.safeParse({ vocab_size: vocabSize }).success).toBe(false);
    }
    expect(textDataSchema.parse({ vocab_size: 261 }).vocab_size).toBe(261);
    expect(learnMerges(new Map(), { vocabSize: 261 })).toEqual([]);
  });
});

describe('counting words', () => {
  it('counts, and leaves out what is no word', () => {
    const counter = new WordCounter();
    counter.add(`the cat, the dog ${'-'.repeat(1000)}`);
    expect(Object.fromEntries(counter.entries())).toEqual({
      the: 1,
      ' cat': 1,
      ',': 1,
      ' the': 1,
      ' dog': 1,
    });
  });

  it('keeps the frequent words when there are too many', () => {
    const counter = new WordCounter(100);
    for (let i = 0; i < 300; i++) counter.add(` the w${i.toString(36)}x`);
    expect(counter.entries().size).toBeLessThanOrEqual(100);
    expect(counter.entries().get(' the')).toBe(300);
  });
});
