import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { wordEnd } from './words.js';

function cut(text: string): string[] {
  const words: string[] = [];
  for (let from = 0; from < text.length; ) {
    const to = wordEnd(text, from);
    words.push(text.slice(from, to));
    from = to;
  }
  return words;
}

/** GPT-2's pattern as it is written, with Unicode's white space. */
function byPattern(text: string): string[] {
  const space = '\\p{White_Space}';
  const pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${space}\\p{L}\\p{N}]+|${space}+(?!\\P{White_Space})|${space}+`;
  return text.match(new RegExp(pattern, 'gu')) ?? [];
}

describe('words', () => {
  it.each([
    [
      "I'm sure they'll say it's 2 o'clock",
      ['I', "'m", ' sure', ' they', "'ll", ' say', ' it', "'s", ' 2', ' o', "'", 'clock'],
    ],
    ['two  spaces\n\nand lines ', ['two', ' ', ' spaces', '\n', '\n', 'and', ' lines', ' ']],
    ['(a+b)=c3', ['(', 'a', '+', 'b', ')=', 'c', '3']],
    ['naïve 日本語 ½ \u00a0x', ['naïve', ' 日本語', ' ½', ' ', '\u00a0', 'x']],
    ["'tis 'rest", ["'t", 'is', " '", 'rest']],
  ])('of %j', (text, words) => {
    expect(cut(text)).toEqual(words);
  });

  it('are those of the pattern, for any text', () => {
    const unit = fc.constantFrom(..."ab Z09\n\t'stlrevmd.,-é日½\u00a0\u0085\ufeff", '😀');
    const text = fc.oneof(fc.string({ unit, maxLength: 40 }), fc.string({ unit: 'grapheme' }));
    fc.assert(
      fc.property(text, (value) => {
        expect(cut(value)).toEqual(byPattern(value));
      }),
      { numRuns: 2000 },
    );
  });
});
