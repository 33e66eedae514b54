import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Philox } from '../random.js';
import { type BatchBounds, cutBatches, partsOf } from './batches.js';
import { LengthSampler, type LengthSamplerOptions, orderByLength } from './length-sampler.js';
import { createUpdateSampler, type SampledBatch, type UpdateSamplerOptions } from './update-sampler.js';

type Options = Pick<LengthSamplerOptions, 'lengths' | 'bounds' | 'updateFreq' | 'seed'>;

const bound = (lengths: Float64Array) => (batch: SampledBatch) => ({
  samples: batch.slots.length,
  padded: batch.slots.length * Math.max(...batch.slots.map(({ index }) => lengths[index]!)),
});
const ids = (batches: readonly SampledBatch[]) =>
  batches.flatMap(({ slots }) => slots.map(({ index }) => index));

/** Updates until an epoch is over. */
function epochOf(sampler: LengthSampler): SampledBatch[][] {
  const { epoch } = sampler.position;
  const updates: SampledBatch[][] = [];
  const contents = sampler.contents();
  for (let samples = 0; samples < contents.samples; ) {
    const update = sampler.nextUpdate();
    for (const { slots } of update) for (const slot of slots) expect(slot.epoch).toBe(epoch);
    samples += ids(update).length;
    updates.push(update);
  }
  return updates;
}

/** Lengths over several orders of magnitude, with equal ones among them, and any bounds. */
const options: fc.Arbitrary<Options> = fc.record({
  lengths: fc
    .array(fc.oneof(fc.constantFrom(1, 5, 5.5, 30), fc.double({ min: 0.01, max: 100, noNaN: true })), {
      minLength: 1,
      maxLength: 60,
    })
    .map((lengths) => Float64Array.from(lengths)),
  bounds: fc.record({
    samples: fc.option(fc.integer({ min: 1, max: 12 })),
    length: fc.double({ min: 0.5, max: 200, noNaN: true }),
  }),
  updateFreq: fc.integer({ min: 1, max: 4 }),
  seed: fc.nat(),
});

describe('LengthSampler', () => {
  it('gives every sample once an epoch, at consecutive places', () => {
    fc.assert(
      fc.property(options, (given) => {
        for (const epoch of [0, 1]) {
          const sampler = new LengthSampler({ ...given, start: { epoch, offset: 0 } });
          const slots = epochOf(sampler).flatMap((update) => update.flatMap((batch) => batch.slots));
          expect(slots.map(({ index }) => index).sort((a, b) => a - b)).toEqual([...given.lengths.keys()]);
          expect(slots.map(({ offset }) => offset)).toEqual([...given.lengths.keys()]);
          expect(sampler.nextUpdate()[0]!.slots[0]).toMatchObject({ epoch: epoch + 1, offset: 0 });
        }
      }),
    );
  });

  it('makes no batch and no update larger than it may be, unless it is a single sample', () => {
    fc.assert(
      fc.property(options, (given) => {
        const { lengths, bounds, updateFreq } = given;
        const within = (batch: SampledBatch, times: number) => {
          const { samples, padded } = bound(lengths)(batch);
          if (samples === 1) return;
          expect(samples).toBeLessThanOrEqual((bounds.samples ?? Infinity) * times);
          expect(padded).toBeLessThanOrEqual(bounds.length! * times);
        };
        for (const update of epochOf(new LengthSampler(given))) {
          for (const batch of update) within(batch, 1);
          within({ slots: update.flatMap(({ slots }) => slots) }, updateFreq);
        }
      }),
    );
  });

  it('keeps the bound with any of its substitutes, and gives none that is in the batch', () => {
    fc.assert(
      fc.property(options, (given) => {
        const { lengths, bounds } = given;
        for (const { slots, substitutes = [] } of epochOf(new LengthSampler(given)).flat()) {
          const longest = Math.max(...slots.map(({ index }) => lengths[index]!));
          for (const index of substitutes) {
            expect(slots.some((slot) => slot.index === index)).toBe(false);
            if (lengths[index]! <= longest) continue;
            expect(lengths[index]! * slots.length).toBeLessThanOrEqual(bounds.length!);
          }
        }
      }),
    );
  });

  it('goes on from any update as if it had not stopped', () => {
    fc.assert(
      fc.property(options, fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 8 }), (given, cuts) => {
        const take = (sampler: LengthSampler, count: number) =>
          Array.from({ length: count }, () => sampler.nextUpdate());
        const whole = take(
          new LengthSampler(given),
          cuts.reduce((a, b) => a + b, 0),
        );
        let sampler = new LengthSampler(given);
        const parts = cuts.flatMap((cut) => {
          const part = take(sampler, cut);
          sampler = new LengthSampler({ ...given, start: sampler.position });
          expect(sampler.moved).toBe(false);
          return part;
        });
        expect(parts).toEqual(whole);
      }),
    );
  });

  it('gives an update the same samples, whatever the number of batches it is cut into', () => {
    fc.assert(
      fc.property(options, (given) => {
        const { bounds, updateFreq } = given;
        const big: BatchBounds = {
          samples: bounds.samples && bounds.samples * updateFreq,
          length: bounds.length! * updateFreq,
        };
        const accumulated = epochOf(new LengthSampler(given));
        const whole = epochOf(new LengthSampler({ ...given, bounds: big, updateFreq: 1 }));
        expect(accumulated.map(ids)).toEqual(whole.map(ids));
        expect(whole.every((update) => update.length === 1)).toBe(true);
      }),
    );
  });

  it('is a matter of seed and epoch alone', () => {
    const lengths = Float64Array.from({ length: 300 }, (_, i) => 2 + ((i * 37) % 100) / 10);
    const given = { lengths, bounds: { samples: null, length: 60 }, updateFreq: 1 };
    const order = (seed: number, epoch = 0) =>
      epochOf(new LengthSampler({ ...given, seed, start: { epoch, offset: 0 } })).map(ids);
    expect(order(1)).toEqual(order(1));
    expect(order(1)).not.toEqual(order(2));
    expect(order(1, 1)).not.toEqual(order(1));
    // Not even the company a sample keeps is that of the epoch before.
    const groups = (updates: number[][]) => new Set(updates.map((members) => members.sort().join()));
    const [first, second] = [groups(order(1)), groups(order(1, 1))];
    expect([...first].filter((group) => second.has(group)).length).toBeLessThan(first.size / 10);
    // Lengths come in any order, so that the training never sees short ones only.
    const means = order(1).map(
      (members) => members.reduce((sum, i) => sum + lengths[i]!, 0) / members.length,
    );
    const rises = means.slice(1).filter((mean, i) => mean > means[i]!).length;
    expect(Math.abs(rises / (means.length - 1) - 0.5)).toBeLessThan(0.25);
  });

  it('pads little, and fills its batches', () => {
    const random = new Philox(4);
    const lengths = Float64Array.from({ length: 5000 }, () => 2 + 18 * random.uniform() ** 2);
    const sampler = new LengthSampler({
      lengths,
      seed: 1,
      bounds: { samples: null, length: 80 },
      updateFreq: 1,
    });
    const { samples, updates, length, padded } = sampler.contents();
    expect(samples).toBe(5000);
    expect(length).toBeCloseTo(
      lengths.reduce((a, b) => a + b, 0),
      6,
    );
    expect(padded! / length!).toBeLessThan(1.1);
    expect(padded! / (80 * updates)).toBeGreaterThan(0.85);
  });

  it('with dropLast leaves out an update that has room for more, and says when none is left', () => {
    const lengths = new Float64Array(10).fill(2);
    const given = { lengths, seed: 1, updateFreq: 2, dropLast: true };
    const sampler = new LengthSampler({ ...given, bounds: { samples: null, length: 4 } });
    expect(epochOf(sampler).map((update) => ids(update).length)).toEqual([4, 4]);
    expect(new LengthSampler({ ...given, bounds: { samples: 5, length: 50 } }).contents().samples).toBe(10);
    expect(() => new LengthSampler({ ...given, bounds: { samples: null, length: 50 } })).toThrow(
      /does not fill one update.*data\.batch_length/,
    );
    expect(
      () => new LengthSampler({ ...given, lengths: new Float64Array(0), bounds: { samples: 1, length: 1 } }),
    ).toThrow(/no samples/);
  });

  it('says when it cannot go on exactly', () => {
    const lengths = new Float64Array(10).fill(2);
    const given = { lengths, seed: 1, updateFreq: 1, bounds: { samples: null, length: 8 } };
    const sampler = new LengthSampler({ ...given, start: { epoch: 3, offset: 3 } });
    expect(sampler.moved).toBe(true);
    expect([2, 4, 6]).toContain(sampler.position.offset);
    expect(sampler.position.epoch).toBe(3);
    const shorter = new LengthSampler({ ...given, start: { epoch: 3, offset: 99 } });
    expect(shorter.moved).toBe(true);
    expect(shorter.nextUpdate()[0]!.slots[0]).toMatchObject({ epoch: 4, offset: 0 });
  });
});

it('the order of a process that trains alone is the same in every release', () => {
  const lengths = Float64Array.from({ length: 12 }, (_, i) => 2 + ((i * 37) % 100) / 10);
  const order = (batch_size: number | null, batch_length: number | null) => {
    const data = { batch_size, batch_length, drop_last: false } as UpdateSamplerOptions['data'];
    const sampler = createUpdateSampler({ data, updateFreq: 2, seed: 3, samples: 12, lengths });
    return Array.from({ length: 3 }, () => sampler.nextUpdate().map((batch) => ids([batch])));
  };
  expect(order(3, null)).toEqual([
    [
      [4, 5, 11],
      [2, 9, 6],
    ],
    [
      [8, 3, 1],
      [0, 7, 10],
    ],
    [
      [6, 10, 0],
      [2, 5, 11],
    ],
  ]);
  expect(order(null, 20)).toEqual([
    [
      [9, 6, 3],
      [11, 0],
    ],
    [[8], [5], [2]],
    [
      [10, 7],
      [4, 1],
    ],
  ]);
});

describe('ranks of a LengthSampler', () => {
  const worldSizes = fc.integer({ min: 1, max: 6 });
  const ranksOf = (given: LengthSamplerOptions, worldSize: number) =>
    Array.from(
      { length: worldSize },
      (_, rank) => new LengthSampler({ ...given, share: { rank, worldSize } }),
    );
  /** The updates of one process that accumulates what all ranks take together. */
  const alone = (given: LengthSamplerOptions, worldSize: number) =>
    new LengthSampler({ ...given, updateFreq: given.updateFreq * worldSize });

  it('share each update without overlap or loss, in equally many batches within the bounds', () => {
    fc.assert(
      fc.property(options, worldSizes, (given, worldSize) => {
        const { lengths, bounds } = given;
        const ranks = ranksOf(given, worldSize);
        const whole = alone(given, worldSize);
        for (let update = 0; update < 8; update++) {
          const expected = whole.nextUpdate().flatMap(({ slots }) => slots);
          const shares = ranks.map((rank) => rank.nextUpdate());
          const slots = shares.flat().flatMap((batch) => batch.slots);
          expect(slots.sort((a, b) => a.offset - b.offset)).toEqual(expected);
          expect(new Set(shares.map((share) => share.length)).size).toBe(1);
          const batches = shares.flat().filter((batch) => batch.slots.length > 0);
          for (const batch of batches) {
            const { samples, padded } = bound(lengths)(batch);
            if (samples === 1) continue;
            expect(samples).toBeLessThanOrEqual(bounds.samples ?? Infinity);
            expect(padded).toBeLessThanOrEqual(bounds.length!);
          }
          // None stands idle while another has samples that could be split.
          if (batches.length < shares.flat().length) expect(batches.length).toBe(expected.length);
          for (const rank of ranks) {
            const { epoch, offset } = whole.position;
            expect(rank.position).toEqual({
              epoch,
              offset,
              cut: { worldSize, updateFreq: given.updateFreq },
            });
          }
        }
      }),
    );
  });

  it('with one of them, or none named, give the same', () => {
    fc.assert(
      fc.property(options, (given) => {
        const [one] = ranksOf(given, 1);
        expect(epochOf(one!)).toEqual(epochOf(new LengthSampler(given)));
      }),
    );
  });

  it('go on from any update as if they had not stopped', () => {
    fc.assert(
      fc.property(options, worldSizes, fc.integer({ min: 1, max: 12 }), (given, worldSize, updates) => {
        const ranks = ranksOf(given, worldSize);
        for (const rank of ranks) for (let i = 0; i < updates; i++) rank.nextUpdate();
        const resumed = ranksOf({ ...given, start: ranks[0]!.position }, worldSize);
        for (let i = 0; i < 4; i++) {
          expect(resumed.map((rank) => rank.nextUpdate())).toEqual(ranks.map((rank) => rank.nextUpdate()));
        }
        expect(resumed.map((rank) => rank.moved)).toEqual(resumed.map(() => false));
      }),
    );
  });

  it('go on as another number of them where the updates stay the same, and refuse it otherwise', () => {
    const lengths = Float64Array.from({ length: 100 }, (_, i) => 2 + (i % 7) / 10);
    const given = { lengths, seed: 1, bounds: { samples: 4, length: 12 }, updateFreq: 2 };
    const [rank] = ranksOf(given, 2);
    const before = [rank!.nextUpdate(), rank!.nextUpdate()];
    expect(before.every((update) => update.length > 0)).toBe(true);
    const { position } = rank!;
    const members = (updates: SampledBatch[][]) => updates.flatMap(ids).sort();
    const next = (worldSize: number, updateFreq: number) =>
      members(ranksOf({ ...given, updateFreq, start: position }, worldSize).map((one) => one.nextUpdate()));
    expect(next(4, 1)).toEqual(next(2, 2));
    expect(next(1, 4)).toEqual(next(2, 2));
    expect(() => next(1, 2)).toThrow(
      /begun on 2 ranks with optimization\.update_freq 2: .*ranks times update_freq are 4 again, not 1 times 2/,
    );
    // Checkpoints of one process that say nothing of ranks.
    const { cut: _, ...old } = position;
    expect(() => ranksOf({ ...given, start: old }, 2)).toThrow(/begun on 1 ranks/);
    expect(() => ranksOf({ ...given, start: { ...position, offset: 100 } }, 3)).not.toThrow();
    expect(() => ranksOf({ ...given, start: { ...position, offset: 0 } }, 3)).not.toThrow();
    const other = new LengthSampler({
      ...given,
      updateFreq: 1,
      start: { ...position, cut: { worldSize: 1, updateFreq: 4 } },
    });
    expect(other.moved).toBe(true);
  });
});

describe('orderByLength', () => {
  it('is a permutation in which lengths rise or fall, up to the width of a bucket', () => {
    fc.assert(
      fc.property(options, ({ lengths, seed }) => {
        const order = orderByLength(lengths, new Philox(seed));
        expect([...order].sort((a, b) => a - b)).toEqual([...lengths.keys()]);
        const sorted = [...order].map((index) => lengths[index]!);
        const rising = (values: number[]) =>
          values.every((value, i) => values.slice(i).every((later) => later > value / 1.1000001));
        expect(rising(sorted) || rising(sorted.reverse())).toBe(true);
      }),
    );
  });
});

describe('cutBatches', () => {
  const order = (count: number) => Int32Array.from({ length: count }, (_, i) => i);
  const sizes = (count: number, bounds: BatchBounds, lengths: Float64Array | null) =>
    [...partsOf(order(count), cutBatches(order(count), bounds, lengths))].map((part) => part.length);

  it('makes a sample that is too long a batch of its own', () => {
    const lengths = Float64Array.of(1, 1, 9, 1, 1, 1);
    expect(sizes(6, { samples: null, length: 3 }, lengths)).toEqual([2, 1, 3]);
    expect(sizes(6, { samples: 2, length: 3 }, lengths)).toEqual([2, 1, 2, 1]);
    expect(sizes(6, { samples: 4, length: null }, lengths)).toEqual([4, 2]);
  });

  it('without lengths counts samples, or takes them one by one', () => {
    expect(sizes(5, { samples: 2, length: 3 }, null)).toEqual([2, 2, 1]);
    expect(sizes(3, { samples: null, length: 3 }, null)).toEqual([1, 1, 1]);
    expect(sizes(0, { samples: 2, length: null }, null)).toEqual([]);
  });
});
