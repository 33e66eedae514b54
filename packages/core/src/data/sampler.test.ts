import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EpochSampler, permutation } from './sampler.js';

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
        (length, dropLast, cuts) => {
          const updateSize = Math.min(length, 4);
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
