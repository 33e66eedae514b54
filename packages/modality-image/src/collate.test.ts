import type { Sample } from '@d2v/core';
import { describe, expect, it } from 'vitest';
import { rawPixels } from './baseline.js';
import { collateImages } from './collate.js';

const sample = (id: number, side: number, label?: number): Sample => ({
  id,
  label,
  tensors: {
    source: {
      data: Float32Array.from({ length: 3 * side * side }, (_, i) => id + i),
      shape: [3, side, side],
    },
  },
});

describe('collateImages', () => {
  it('puts samples one after the other', () => {
    const batch = collateImages([sample(7, 2, 3), sample(9, 2)]);
    expect(batch.tensors.source!.shape).toEqual([2, 3, 2, 2]);
    expect([...batch.tensors.source!.data]).toEqual([
      ...sample(7, 2).tensors.source!.data,
      ...sample(9, 2).tensors.source!.data,
    ]);
    expect(batch.labels).toEqual(Int32Array.of(3, -1));
    expect(batch).toMatchObject({ size: 2, ids: [7, 9] });
  });

  it('has no labels if no sample has', () => {
    expect(collateImages([sample(0, 2)]).labels).toBeUndefined();
    expect(collateImages([]).size).toBe(0);
  });

  it('names a sample of another size', () => {
    expect(() => collateImages([sample(0, 2), sample(5, 3)])).toThrow(
      'sample 5 has 27 values, the first of its batch 12',
    );
  });
});

describe('rawPixels', () => {
  it('of a small picture are its values', () => {
    const { data } = sample(1, 4).tensors.source!;
    expect(rawPixels(sample(1, 4))).toEqual(data);
    expect(rawPixels(sample(1, 4))).not.toBe(data);
  });

  it('of a large one are averages over blocks', () => {
    const large = sample(0, 70);
    const features = rawPixels(large);
    expect(features).toHaveLength(3 * 24 * 24);
    const mean = (values: ArrayLike<number>) => Array.from(values).reduce((a, b) => a + b, 0) / values.length;
    // First block of the second channel: 3 x 3 values from row 0, columns 0 to 2.
    const block = [0, 1, 2, 70, 71, 72, 140, 141, 142].map((i) => 4900 + i);
    expect(features[576]).toBeCloseTo(mean(block), 3);
    // The last block is 1 x 1.
    expect(features.at(-1)).toBe(large.tensors.source!.data.at(-1));
  });
});
