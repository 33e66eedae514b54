import { describe, expect, it } from 'vitest';
import type { DataSource } from '../modality/contract.js';
import { lengthsOf } from './lengths.js';

const source = (...sizes: number[]) =>
  ({ name: 'clips', length: sizes.length, sizes: () => Float64Array.from(sizes) }) as unknown as DataSource;

describe('lengthsOf', () => {
  it('takes what the source tells, and the average where it cannot tell', () => {
    expect(lengthsOf({ ...source(), sizes: undefined })).toBeNull();
    expect([...lengthsOf(source(1, 2, 3))!]).toEqual([1, 2, 3]);
    expect([...lengthsOf(source(1, 0, 3, Number.NaN, -1, Infinity))!]).toEqual([1, 2, 3, 2, 2, 2]);
  });

  it('refuses lengths that belong to something else', () => {
    expect(() => lengthsOf({ ...source(1, 2), length: 3 })).toThrow(
      /clips has 3 samples but tells 2 lengths/,
    );
    expect(() => lengthsOf(source(0, Number.NaN))).toThrow(/no sample of clips has a length/);
  });
});
