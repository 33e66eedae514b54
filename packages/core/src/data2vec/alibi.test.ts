import { describe, expect, it } from 'vitest';
import { alibiSlopes, gridCoordinates, lineCoordinates, rowCoordinates } from './alibi.js';
import { makeMaskInfo } from './masking/index.js';

describe('alibiSlopes', () => {
  it('is a geometric sequence for powers of two', () => {
    expect(alibiSlopes(8)).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((i) => 2 ** -i));
    expect(alibiSlopes(4)).toEqual([2 ** -2, 2 ** -4, 2 ** -6, 2 ** -8]);
    expect(alibiSlopes(1)).toEqual([2 ** -8]);
  });

  it('takes every second slope of the next power of two for the rest', () => {
    const twelve = alibiSlopes(12);
    expect(twelve.slice(0, 8)).toEqual(alibiSlopes(8));
    const sixteen = alibiSlopes(16);
    expect(twelve.slice(8)).toEqual([sixteen[0], sixteen[2], sixteen[4], sixteen[6]]);
  });
});

describe('coordinates', () => {
  it('of the kept tokens follow the extra tokens', () => {
    const mask = makeMaskInfo(Uint8Array.from([0, 1, 1, 0, 1, 0, 0, 1]), 2, 4);
    const rows = rowCoordinates(gridCoordinates(2, 2), 2, 1, mask);
    expect([...rows]).toEqual([-1, -1, 0, 0, 1, 1, -1, -1, 0, 1, 1, 0]);
  });

  it('are all of them without a mask', () => {
    expect([...rowCoordinates(lineCoordinates(3), 2, 0, null)]).toEqual([0, 1, 2, 0, 1, 2]);
  });
});
