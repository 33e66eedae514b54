import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  hopLength,
  outputLength,
  PAPER_SPEC,
  parseConvSpec,
  receptiveField,
  samplesFor,
} from './conv-spec.js';

const paper = [[512, 10, 5], ...Array(4).fill([512, 3, 2]), [512, 2, 2], [512, 2, 2]];

describe('parseConvSpec', () => {
  it.each([
    PAPER_SPEC,
    '[(512,10,5)] + [(512,3,2)]*4 + [(512,2,2)]*2',
    '[[512, 10, 5]] + 4 * [[512, 3, 2]] + 2*[(512,2,2,),]',
    '([(512,10,5)] + ([(512,3,2)] * 2) * 2) + [(512,2,2),(512,2,2)]',
  ])('reads %s', (spec) => expect(parseConvSpec(spec)).toEqual(paper));

  it('takes plain lists', () => expect(parseConvSpec(paper)).toEqual(paper));

  it.each([
    ['', /expected a list.*found the end/],
    ['[]', /no layers/],
    ['[(512, 10)]', /expected "," at character 10/],
    ['[(512, 10, 5)] * [(1,1,1)]', /a number of repetitions/],
    ['4', /expected a list/],
    ['[(512, 10, 5)] - [(1,1,1)]', /expected "\+", "\*" or the end at character 16/],
    ['[(0, 10, 5)]', /whole numbers from 1/],
    ['[(512, 3, 2)] * 1000000', /at most 64/],
    ['[(1, 1, 1)] * 9 * 9', /at most 64/],
    ['__import__("os").system("true")', /expected a list/],
  ])('refuses %s', (spec, message) => expect(() => parseConvSpec(spec)).toThrow(message));

  it('gives layers or an error that can be shown, for any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'[]()+*, 1290a') }), (text) => {
        try {
          expect(parseConvSpec(text).length).toBeGreaterThan(0);
        } catch (error) {
          expect((error as Error).name).toBe('D2vError');
        }
      }),
    );
  });
});

describe('lengths', () => {
  const layers = parseConvSpec(PAPER_SPEC);

  it("are the paper's: 25 ms wide, every 20 ms", () => {
    expect(receptiveField(layers)).toBe(400);
    expect(hopLength(layers)).toBe(320);
    expect(outputLength(layers, 13_200)).toBe(41);
    expect(outputLength(layers, 399)).toBe(0);
    expect(outputLength(layers, 400)).toBe(1);
  });

  it('go back and forth', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3000 }), (features) => {
        const samples = samplesFor(layers, features);
        expect(outputLength(layers, samples)).toBe(features);
        expect(outputLength(layers, samples - 1)).toBe(features - 1);
      }),
    );
  });
});
