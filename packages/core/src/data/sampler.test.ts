import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EpochSampler, permutation, type SamplerOptions } from './sampler.js';

const indices = (sampler: EpochSampler, count: number) => sampler.next(count).map((slot) => slot.index);

describe('EpochSampler', () => {
  it('gives every sample once an epoch, in an order of the epoch', () => {
    const sampler = new EpochSampler({ length: 20, seed: 7, updateSize: 5 });
    const first = indices(sampler, 20);
    const second = indices(sampler, 20);
    expect([...first].sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => i));
    expect([...second].sort((a, b) => a - b)).toEqual([...first].sort((a, b) => a - b));
    expect(second).not.toEqual(first);
    expect([...permutation(20, 7, 1)]).toEqual(second);
  });

  it('is a matter of the seed', () => {
    expect([...permutation(50, 1, 0)]).not.toEqual([...permutation(50, 2, 0)]);
    expect([...permutation(50, 1, 0)]).toEqual([...permutation(50, 1, 0)]);
  });

  it('does not depend on how it is cut into batches, nor on interruptions', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.boolean(),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 20 }),
        (length, dropLast, given) => {
          const updateSize = Math.min(length, 4);
          const cuts = dropLast ? given.map((cut) => cut * updateSize) : given;
          const options = { length, seed: 3, updateSize, dropLast };
          const total = cuts.reduce((sum, cut) => sum + cut, 0);
          const whole = new EpochSampler(options).next(total);
          let sampler = new EpochSampler(options);
          const parts = cuts.flatMap((cut) => {
            const part = sampler.next(cut);
            sampler = new EpochSampler({ ...options, start: sampler.position });
            return part;
          });
          expect(parts).toEqual(whole);
        },
      ),
    );
  });

  it('with dropLast leaves the rest of an epoch out, and says when nothing would be left', () => {
    const sampler = new EpochSampler({ length: 10, seed: 1, updateSize: 4, dropLast: true });
    expect(sampler.epochSize).toBe(8);
    expect(sampler.next(12).map((slot) => slot.epoch)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]);
    expect(() => new EpochSampler({ length: 3, seed: 1, updateSize: 4, dropLast: true })).toThrow(
      /batch_size/,
    );
    expect(new EpochSampler({ length: 3, seed: 1, updateSize: 4 }).next(7)).toHaveLength(7);
    expect(() => new EpochSampler({ length: 0, seed: 1, updateSize: 4 })).toThrow(/no samples/);
  });
});

describe('ranks of an EpochSampler', () => {
  /** Any dataset and number of ranks, small ones most of all: more ranks than samples, and epochs that end anywhere. */
  const cases = fc.record({
    length: fc.integer({ min: 1, max: 40 }),
    worldSize: fc.integer({ min: 1, max: 7 }),
    batch: fc.integer({ min: 1, max: 5 }),
    updates: fc.integer({ min: 1, max: 12 }),
    dropLast: fc.boolean(),
  });
  const fitting = cases.filter(
    ({ length, worldSize, batch, dropLast }) => !dropLast || length >= worldSize * batch,
  );
  const ranksOf = (options: SamplerOptions, worldSize: number) =>
    Array.from(
      { length: worldSize },
      (_, rank) => new EpochSampler({ ...options, share: { rank, worldSize } }),
    );

  it('take in each update what one process would, without overlap or loss', () => {
    fc.assert(
      fc.property(fitting, ({ length, worldSize, batch, updates, dropLast }) => {
        const options = { length, seed: 5, updateSize: batch, dropLast };
        const alone = new EpochSampler({ ...options, updateSize: batch * worldSize });
        const ranks = ranksOf(options, worldSize);
        for (let update = 0; update < updates; update++) {
          const shares = ranks.map((rank) => rank.next(batch));
          // Dealt out in turn: transposed, they are the order of one process.
          const together = Array.from({ length: batch }, (_, i) => shares.map((share) => share[i]!)).flat();
          expect(together).toEqual(alone.next(batch * worldSize));
          for (const rank of ranks) expect(rank.position).toEqual(alone.position);
        }
        expect(ranks.map((rank) => rank.epochSize)).toEqual(ranks.map(() => alone.epochSize));
      }),
    );
  });

  it('go on from any update, also as another number of them', () => {
    fc.assert(
      fc.property(fitting, fc.integer({ min: 1, max: 7 }), (given, others) => {
        const { length, worldSize, batch, updates, dropLast } = given;
        const options = { length, seed: 5, updateSize: batch, dropLast };
        const before = ranksOf(options, worldSize);
        for (const rank of before) rank.next(batch * updates);
        const { position } = before[0]!;
        const same = ranksOf({ ...options, start: position }, worldSize);
        expect(same.map((rank) => rank.next(9))).toEqual(before.map((rank) => rank.next(9)));
        if (dropLast) {
          fc.pre(length >= batch * others);
          const resumed = ranksOf({ ...options, start: position }, others);
          for (let update = 0; update < 4; update++) {
            const slots = resumed.flatMap((rank) => rank.next(batch));
            // No update spans two epochs, none has a sample twice, and none begins where a whole one was left out.
            expect(new Set(slots.map(({ epoch }) => epoch)).size).toBe(1);
            const places = slots.map(({ offset }) => offset).sort((a, b) => a - b);
            expect(places).toEqual(places.map((_, i) => places[0]! + i));
            if (update === 0) {
              const goesOn = length - position.offset >= batch * others;
              expect(slots[0]!.epoch).toBe(position.epoch + (goesOn ? 0 : 1));
              expect(places[0]).toBe(goesOn ? position.offset : 0);
            }
          }
          return;
        }
        const resumed = ranksOf({ ...options, start: position }, others).map((rank) => rank.next(6));
        const rest = Array.from({ length: 6 }, (_, i) => resumed.map((share) => share[i]!)).flat();
        const whole = new EpochSampler(options).next(batch * updates * worldSize + 6 * others);
        expect(rest).toEqual(whole.slice(batch * updates * worldSize));
      }),
    );
  });

  it('with dropLast leave out what does not fill an update of their number', () => {
    const options = { length: 50, seed: 5, updateSize: 8, dropLast: true };
    const alone = new EpochSampler(options);
    alone.next(8 * 8);
    const ranks = ranksOf({ ...options, start: alone.position }, 4);
    const epochs = Array.from({ length: 6 }, () => [
      ...new Set(ranks.flatMap((rank) => rank.next(8)).map(({ epoch }) => epoch)),
    ]);
    expect(epochs).toEqual([[1], [2], [3], [4], [5], [6]]);
  });

  it('leave the same rest out, and say when nothing would be left', () => {
    const options = { length: 11, seed: 1, updateSize: 2, dropLast: true };
    expect(ranksOf(options, 2).map((rank) => rank.epochSize)).toEqual([8, 8]);
    expect(() => ranksOf(options, 6)).toThrow('fewer than one update takes (12 on 6 ranks)');
  });

  it('are numbers from 0', () => {
    const make = (rank: number, worldSize: number) => () =>
      new EpochSampler({ length: 5, seed: 1, updateSize: 1, share: { rank, worldSize } });
    expect(make(2, 2)).toThrow('rank must be a whole number from 0 to 1 (worldSize - 1), not 2');
    expect(make(-1, 2)).toThrow('not -1');
    expect(make(0.5, 2)).toThrow('not 0.5');
    expect(make(0, 0)).toThrow('worldSize must be a whole number from 1, not 0');
  });
});
