import * as k from '@d2v/cuda-kernels';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hashString, Philox, philoxBlock, RngStream } from './random.js';

const hex = (words: Uint32Array) => [...words].map((w) => w.toString(16).padStart(8, '0')).join(' ');

describe('Philox', () => {
  it('gives the published known answers', () => {
    const out = new Uint32Array(4);
    philoxBlock(out, 0, 0, 0, 0, 0, 0);
    expect(hex(out)).toBe('6627e8d5 e169c58d bc57ac4c 9b00dbd8');
    const ones = 0xffffffff;
    philoxBlock(out, ones, ones, ones, ones, ones, ones);
    expect(hex(out)).toBe('408f276d 41c83b0e a20bc7c6 6d5451fd');
    philoxBlock(out, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0);
    expect(hex(out)).toBe('d16cfe09 94fdcceb 5001e420 24126ea1');
  });

  it('agrees with the native kernels for any key', () => {
    const u32 = fc.integer({ min: 0, max: 0xffffffff });
    fc.assert(
      fc.property(fc.maxSafeNat(), u32, u32, (seed, stream, update) => {
        k.scope(() => {
          const native = k.empty([11], 'f32', 'cpu');
          k.uniform_(native, 0, 1, { seed, stream, update });
          const rng = new Philox(seed, stream, update);
          expect(Float32Array.from({ length: 11 }, () => rng.uniform())).toEqual(k.toArray(native));
          k.normal_(native, 0, 1, { seed, stream, update });
          const again = new Philox(seed, stream, update);
          const z = k.toArray(native) as Float32Array;
          for (const value of z) expect(again.normal()).toBeCloseTo(value, 5);
        });
      }),
      { numRuns: 50 },
    );
  });

  it('forks depend on the labels and not on what was drawn', () => {
    const a = new Philox(7);
    const b = new Philox(7);
    b.nextU32();
    expect(a.fork('mask', 3).nextU32()).toBe(b.fork('mask', 3).nextU32());
    const first = (...labels: (string | number)[]) => a.fork(...labels).nextU32();
    const all = [
      first('mask', 3),
      first('mask', 4),
      first('noise', 3),
      first(3, 'mask'),
      first(3),
      first('3'),
      first(),
    ];
    all.push(new Philox(7).nextU32(), new Philox(8).fork('mask', 3).nextU32());
    // fork() without labels is the same stream; everything else differs.
    expect(new Set(all).size).toBe(all.length - 1);
  });

  it('draws whole numbers evenly, permutations and choices without repetition', () => {
    const rng = new Philox(1, 2, 3);
    const counts = [0, 0, 0, 0, 0, 0];
    for (let i = 0; i < 60000; i++) counts[rng.int(6)]!++;
    for (const c of counts) expect(Math.abs(c - 10000)).toBeLessThan(500);
    expect([...rng.permutation(100)].sort((x, y) => x - y)).toEqual([...Array(100).keys()]);
    expect(new Set(rng.choose(50, 20)).size).toBe(20);
    expect(() => rng.int(0)).toThrow(RangeError);
    expect(() => new Philox(-1)).toThrow(RangeError);
    expect(() => new Philox(0.5)).toThrow(RangeError);
  });

  it('has the moments of a normal distribution', () => {
    const rng = new Philox(11);
    let s = 0;
    let s2 = 0;
    const n = 100000;
    for (let i = 0; i < n; i++) {
      const z = rng.normal(1, 2);
      s += z;
      s2 += z * z;
    }
    expect(s / n).toBeCloseTo(1, 1);
    expect(s2 / n - (s / n) ** 2).toBeCloseTo(4, 0);
  });
});

describe('RngStream', () => {
  it('gives every call a stream of its own, apart from those of parameters and other micro-batches', () => {
    const keys = [0, 1, 2].flatMap((micro) => {
      const rng = new RngStream(5, 10, micro);
      return Array.from({ length: 100 }, () => rng.next());
    });
    expect(new Set(keys.map((key) => key.stream)).size).toBe(300);
    expect(keys.every((key) => key.seed === 5 && key.update === 10)).toBe(true);
    expect(hashString('blocks.0.attn.qkv.weight')).not.toBe(hashString('blocks.1.attn.qkv.weight'));
  });
});
