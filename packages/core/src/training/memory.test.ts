import { describe, expect, it } from 'vitest';
import type { RunConfig } from '../config/schema.js';
import { checkMemory, firstSamples, largestBatch, measureNeed, totalNeed } from './memory.js';

const GB = 2 ** 30;
const config = (batchSize: number | null, updateFreq = 1, batchLength: number | null = null) =>
  ({
    data: { batch_size: batchSize, batch_length: batchLength },
    optimization: { update_freq: updateFreq },
    model: { clone_batch: 4 },
  }) as RunConfig;

describe('measureNeed', () => {
  it('takes one and two samples and finds what grows with the batch', () => {
    const need = measureNeed(8, 5, (samples) => 100 + 10 * samples);
    expect(need).toEqual({ fixed: 5, base: 100, perSample: 10 });
    expect(measureNeed(1, 5, () => 70)).toEqual({ fixed: 5, base: 0, perSample: 70 });
  });
});

describe('checkMemory', () => {
  const need = { fixed: GB, base: 0, perSample: GB };
  it('says what is needed and what there is', () => {
    expect(checkMemory(need, config(4), 4, 20 * GB)).toBe('needs about 5.8 GB of 20.0 GB memory');
  });
  it('names a split of the batch that fits and computes the same', () => {
    expect(() => checkMemory(need, config(12, 2), 12, 8 * GB)).toThrow(
      /needs about 15\.\d GB.*batch_size 12 x model\.clone_batch 4.*8\.0 GB is available: data\.batch_size=4 with optimization\.update_freq=6 fits/,
    );
  });
  it('names a shorter batch that fits and computes the same', () => {
    expect(() =>
      checkMemory(need, config(null, 2, 60), largestBatch(config(null, 2, 60), 5), 8 * GB),
    ).toThrow(/data\.batch_length 60 x.*: data\.batch_length=24 with optimization\.update_freq=5 fits/);
    expect(() => checkMemory(need, config(12, 1, 60), 12, 8 * GB)).toThrow(
      /: data\.batch_size=4 and data\.batch_length=20 with optimization\.update_freq=3 fits/,
    );
  });
  it('says when nothing helps', () => {
    expect(() => checkMemory(need, config(12), 12, 2 * GB)).toThrow(/even one sample at a time does not fit/);
  });
  it('grows with the batch', () => {
    expect(totalNeed(need, 5)).toBeGreaterThan(totalNeed(need, 4));
  });
});

it('largestBatch counts in samples as long as the longest', () => {
  expect(largestBatch(config(12), 5)).toBe(12);
  expect(largestBatch(config(12), null)).toBe(12);
  expect(largestBatch(config(null, 1, 60), 5)).toBe(12);
  expect(largestBatch(config(8, 1, 60), 5)).toBe(8);
  expect(largestBatch(config(null, 1, 60), 100)).toBe(1);
});

it('firstSamples cuts every tensor of a batch', () => {
  const batch = {
    size: 3,
    tensors: { source: { data: Float32Array.from({ length: 12 }, (_, i) => i), shape: [3, 2, 2] } },
    labels: Int32Array.of(1, 2, 3),
    ids: [7, 8, 9],
  };
  const cut = firstSamples(batch, 2);
  expect(cut.tensors.source!.shape).toEqual([2, 2, 2]);
  expect([...cut.tensors.source!.data]).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  expect(cut).toMatchObject({ size: 2, ids: [7, 8] });
  expect(firstSamples(batch, 9).size).toBe(3);
});
