import { expect, it } from 'vitest';
import { median, quantile } from './statistics.js';
import { formatTable } from './table.js';

it('median is the middle, or between the two in the middle', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
  expect(median([])).toBeNaN();
});

it('quantile does not depend on the order', () => {
  const values = Array.from({ length: 10 }, (_, i) => 9 - i);
  expect(quantile(values, 0.9)).toBe(9);
  expect(quantile(values, 0)).toBe(0);
});

it('tables line up', () => {
  expect(
    formatTable([
      ['', 'ours'],
      ['step time', '1.5 s'],
    ]),
  ).toBe('            ours\nstep time  1.5 s');
});
