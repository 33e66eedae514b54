import { expect, it } from 'vitest';
import { count, duration, number } from './format.js';

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
