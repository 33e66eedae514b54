import { expect, it } from 'vitest';
import { count, duration, fitColumns, number, wrap } from './format.js';

it('writes durations', () => {
  expect([0, 59.6, 75, 3700, -1].map(duration)).toEqual(['0:00', '1:00', '1:15', '1:01:40', '0:00']);
});

it('writes numbers with four significant digits', () => {
  expect([0, 3, 0.123456, 1e-4, 5e-7, 12345.678, 1e9, Number.NaN].map(number)).toEqual([
    '0',
    '3',
    '0.1235',
    '1e-4',
    '5e-7',
    '12350',
    '1e9',
    'NaN',
  ]);
});

it('writes large counts with a unit', () => {
  expect([999, 1500, 86_123_456, 123_456_789, 2e9].map(count)).toEqual([
    '999',
    '1.5 k',
    '86.1 M',
    '123 M',
    '2.0 G',
  ]);
});

it('cuts columns that may be cut, the longest first, until rows fit', () => {
  const rows = [
    ['name', 'size', 'here'],
    ['a', 'x'.repeat(40), 'prepared (train, valid)'],
    ['bc', 'short', ''],
  ];
  const widthOf = (fitted: string[][]) =>
    [0, 1, 2].reduce((sum, c) => sum + Math.max(...fitted.map((row) => row[c]!.length)), 4);
  expect(fitColumns(rows, [1, 2], 80)).toEqual(rows);
  const fitted = fitColumns(rows, [1, 2], 60);
  expect(widthOf(fitted)).toBe(60);
  expect(fitted[1]).toEqual(['a', `${'x'.repeat(28)}…`, 'prepared (train, valid)']);
  // No further than to something that can be read.
  expect(fitColumns(rows, [1, 2], 10)[1]).toEqual(['a', `${'x'.repeat(11)}…`, 'prepared (t…']);
});

it('wraps lines between words, under their column', () => {
  expect(wrap('short', 20)).toEqual(['short']);
  expect(wrap('', 20)).toEqual(['']);
  expect(wrap('some words that are too many', 12)).toEqual(['some words', 'that are too', 'many']);
  expect(wrap('  --side  the shorter side of it', 22)).toEqual([
    '  --side  the shorter',
    '          side of it',
  ]);
  expect(wrap('\u001b[2mten\u001b[22m letters', 11)).toEqual(['\u001b[2mten\u001b[22m letters']);
});
