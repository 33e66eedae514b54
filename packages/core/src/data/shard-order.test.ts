import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DataConfig } from '../modality/contract.js';
import { shardOrder } from './shard-order.js';
import { createUpdateSampler, type UpdateSamplerOptions } from './update-sampler.js';

/** Shards of these sizes, empty ones too. */
const sizes = fc
  .array(fc.integer({ min: 0, max: 12 }), { minLength: 1, maxLength: 20 })
  .filter((all) => all.some((size) => size > 0));
const startsOf = (all: readonly number[]) => all.map((_, i) => all.slice(0, i).reduce((a, b) => a + b, 0));
const sum = (all: readonly number[]) => all.reduce((a, b) => a + b, 0);
const open = fc.integer({ min: 1, max: 6 });

describe('shardOrder', () => {
  it('has every sample once, each shard from its beginning to its end, and few of them open at once', () => {
    fc.assert(
      fc.property(sizes, open, fc.integer({ min: 0, max: 50 }), (all, most, epoch) => {
        const starts = startsOf(all);
        const order = [...shardOrder(starts, sum(all), most, 3, epoch)];
        expect([...order].sort((a, b) => a - b)).toEqual([...Array(sum(all)).keys()]);
        const next = [...starts];
        const reading = new Set<number>();
        for (const index of order) {
          const shard = starts.findLastIndex((start, i) => start <= index && all[i]! > 0);
          expect(index).toBe(next[shard]!);
          next[shard]!++;
          reading.add(shard);
          expect(reading.size).toBeLessThanOrEqual(most);
          if (next[shard] === starts[shard]! + all[shard]!) reading.delete(shard);
        }
      }),
    );
  });

  it('follows from seed and epoch, and mixes what is open', () => {
    const order = (seed: number, epoch: number) => [...shardOrder([0, 100, 200, 300], 400, 2, seed, epoch)];
    expect(order(1, 0)).toEqual(order(1, 0));
    expect(order(1, 0)).not.toEqual(order(1, 1));
    expect(order(1, 0)).not.toEqual(order(2, 0));
    const shards = order(1, 0).map((index) => Math.floor(index / 100));
    const changes = shards.filter((shard, i) => i > 0 && shard !== shards[i - 1]).length;
    expect(changes).toBeGreaterThan(100);
    // All shards come first in some epoch.
    const firsts = new Set(Array.from({ length: 40 }, (_, epoch) => Math.floor(order(1, epoch)[0]! / 100)));
    expect(firsts.size).toBe(4);
  });
});

describe('data.shuffle: shards', () => {
  const options = (all: readonly number[], more: Partial<DataConfig> = {}): UpdateSamplerOptions => ({
    data: {
      shuffle: 'shards',
      shuffle_shards: 2,
      batch_size: 3,
      batch_length: null,
      drop_last: false,
      ...more,
    } as DataConfig,
    updateFreq: 2,
    seed: 3,
    samples: sum(all),
    lengths: null,
    shards: startsOf(all),
  });

  it('gives the samples in that order, also after an interruption anywhere', () => {
    fc.assert(
      fc.property(sizes, fc.integer({ min: 0, max: 12 }), (all, updates) => {
        const whole = createUpdateSampler(options(all));
        for (let i = 0; i < updates; i++) whole.nextUpdate();
        const resumed = createUpdateSampler({ ...options(all), start: whole.position });
        for (let i = 0; i < 4; i++) expect(resumed.nextUpdate()).toEqual(whole.nextUpdate());
      }),
    );
    const all = [5, 7, 6, 6];
    const sampler = createUpdateSampler(options(all));
    for (const epoch of [0, 1]) {
      const given = Array.from({ length: 4 }, () => sampler.nextUpdate()).flat();
      const indices = given.flatMap(({ slots }) => slots.map(({ index }) => index));
      expect(indices).toEqual([...shardOrder(startsOf(all), 24, 2, 3, epoch)]);
    }
  });

  it('is refused where it cannot be had', () => {
    expect(() => createUpdateSampler({ ...options([4, 4]), shards: null })).toThrow(
      /data.shuffle: shards needs tar shards/,
    );
    const byLength = options([4, 4], { batch_length: 10 });
    expect(() => createUpdateSampler({ ...byLength, lengths: new Float64Array(8).fill(1) })).toThrow(
      /goes with data.batch_size.*set data.batch_length to null/,
    );
    expect(() => createUpdateSampler({ ...options([4, 4]), shards: [0, 9] })).toThrow(
      /shards begin at 9 \(shard 1\), of 8 samples/,
    );
  });
});
