import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as k from './index.js';
import { RawTensor } from './index.js';

const live = (): number => k.memoryStats().liveBuffers;

describe('scope', () => {
  test('frees what was made inside and is not returned', () => {
    const before = live();
    let inner: k.RawTensor | undefined;
    const out = k.scope(() => {
      inner = k.zeros([10]);
      return k.scale(inner, 2);
    });
    expect(inner!.disposed).toBe(true);
    expect(out.disposed).toBe(false);
    expect(live()).toBe(before + 1);
    out.dispose();
    expect(live()).toBe(before);
  });

  test('finds results in containers', () => {
    const before = live();
    const cycle: Record<string, unknown> = {};
    const result = k.scope(() => {
      class Holder {
        constructor(readonly raw: k.RawTensor) {}
      }
      class Other {
        constructor(readonly hidden: k.RawTensor) {}
      }
      const make = (): k.RawTensor => k.zeros([2]);
      cycle.self = cycle;
      return {
        list: [make(), [make()]],
        map: new Map([['a', make()]]),
        set: new Set([make()]),
        holder: new Holder(make()),
        other: new Other(make()),
        nothing: Object.assign(Object.create(null), { t: make() }) as { t: k.RawTensor },
        cycle,
      };
    });
    const kept = [
      result.list[0],
      (result.list[1] as k.RawTensor[])[0],
      result.map.get('a'),
      ...result.set,
      result.holder.raw,
      result.nothing.t,
    ] as k.RawTensor[];
    expect(kept.map((t) => t.disposed)).toEqual([false, false, false, false, false, false]);
    expect(result.other.hidden.disposed).toBe(true);
    expect(live()).toBe(before + 6);
    for (const t of kept) t.dispose();
    expect(live()).toBe(before);
  });

  test('hands results to the scope outside', () => {
    const before = live();
    let middle: k.RawTensor | undefined;
    k.scope(() => {
      middle = k.scope(() => k.zeros([1]));
      expect(middle.disposed).toBe(false);
    });
    expect(middle!.disposed).toBe(true);
    expect(live()).toBe(before);
  });

  test('leaves alone what was made outside', () => {
    const t = k.zeros([4]);
    const view = k.scope(() => t.view(1, [2]));
    expect([t.disposed, view.disposed]).toEqual([false, false]);
    k.scope(() => t);
    expect(t.disposed).toBe(false);
    t.dispose();
    view.dispose();
  });

  test('keep takes a tensor out of every scope', () => {
    const before = live();
    const t = k.scope(() => k.scope(() => ({ hidden: () => k.keep(k.zeros([3])) })).hidden());
    let kept: k.RawTensor | undefined;
    k.scope(() => {
      k.scope(() => {
        kept = k.keep(k.zeros([3]));
      });
    });
    expect([t.disposed, kept!.disposed]).toEqual([false, false]);
    t.dispose();
    kept!.dispose();
    expect(live()).toBe(before);
  });

  test('frees when the function throws', () => {
    const before = live();
    expect(() =>
      k.scope(() => {
        k.zeros([10]);
        k.scope(() => {
          k.zeros([10]);
          throw new Error('no');
        });
      }),
    ).toThrow('no');
    expect(live()).toBe(before);
  });

  test('refuses asynchronous functions', () => {
    const before = live();
    expect(() => k.scope(async () => k.zeros([1]))).toThrow('scope: the function is asynchronous');
    expect(live()).toBe(before);
  });

  test('a tensor disposed inside is no problem', () => {
    const before = live();
    k.scope(() => {
      const t = k.zeros([1]);
      t.dispose();
      return t;
    });
    expect(live()).toBe(before);
  });
});

describe('the allocator', () => {
  test('counts, caches and gives back', () => {
    k.emptyCache();
    const start = k.memoryStats();
    expect(start.cached).toBe(0);
    const a = k.empty([1000]);
    const one = k.memoryStats();
    expect(one.liveBuffers).toBe(start.liveBuffers + 1);
    expect(one.current - start.current).toBeGreaterThanOrEqual(4000);
    expect(one.current - start.current).toBeLessThanOrEqual(4000 * 1.125 + 64);
    a.dispose();
    expect(k.memoryStats()).toMatchObject({ current: start.current, liveBuffers: start.liveBuffers });
    expect(k.memoryStats().cached).toBe(one.current - start.current);
    const b = k.empty([1000]);
    expect(k.memoryStats().cached).toBe(0);
    b.dispose();
    k.emptyCache();
    expect(k.memoryStats().cached).toBe(0);
  });

  test('holds little more than the peak, though sizes hardly ever come again', () => {
    k.emptyCache();
    k.resetPeakMemory();
    const start = k.memoryStats();
    let held = 0;
    for (let round = 0; round < 300; round++) {
      const sizes = Array.from({ length: 6 }, (_, i) => 50_000 + ((round * 7919 + i * 104_729) % 2_000_000));
      k.scope(() => {
        for (const size of sizes) k.empty([size]);
        const { current, cached } = k.memoryStats();
        held = Math.max(held, current + cached);
      });
    }
    const most = k.memoryStats().peak - start.current;
    expect(most).toBeGreaterThan(20 << 20);
    expect(held - start.current - start.cached).toBeLessThan(1.5 * most + (32 << 20));
    k.emptyCache();
    expect(k.memoryStats().current).toBe(start.current);
  });

  test('buffers of any size and order of life never share memory', () => {
    const before = k.memoryStats();
    const order = fc.array(fc.tuple(fc.noBias(fc.integer({ min: 1, max: 600_000 })), fc.nat(9)), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(order, (steps) => {
        const alive: { t: RawTensor; value: number }[] = [];
        const drop = (at: number) => {
          const [{ t, value }] = alive.splice(at % alive.length, 1) as [(typeof alive)[number]];
          expect(k.item(k.sum(t))).toBe(value * t.size);
          t.dispose();
        };
        k.scope(() => {
          steps.forEach(([size, choice], i) => {
            if (alive.length > 0 && choice > 5) drop(choice + i);
            alive.push({ t: k.full([size], (i % 7) + 1), value: (i % 7) + 1 });
          });
          while (alive.length > 0) drop(0);
        });
      }),
      { numRuns: 40 },
    );
    expect(k.memoryStats()).toMatchObject({ current: before.current, liveBuffers: before.liveBuffers });
  });

  test('remembers the peak', () => {
    k.resetPeakMemory();
    const { current } = k.memoryStats();
    k.scope(() => {
      k.empty([1 << 20]);
      k.empty([1 << 20]);
    });
    expect(k.memoryStats().peak - current).toBe(8 << 20);
    k.resetPeakMemory();
    expect(k.memoryStats().peak).toBe(current);
  });

  test('views hold one buffer', () => {
    const before = live();
    const t = k.empty([100]);
    const views = [t.view(0, [10]), t.view(50, [10]), t.reshape([10, 10])];
    expect(live()).toBe(before + 1);
    t.dispose();
    expect(live()).toBe(before + 1);
    for (const v of views) v.dispose();
    expect(live()).toBe(before);
  });

  test('sizes that cannot be are errors that say so', () => {
    const before = k.memoryStats();
    expect(() => k.empty([2 ** 42])).toThrow(/out of memory on cpu: 16\.0 TiB requested, .* available/);
    expect(() => k.zeros([2 ** 40, 2 ** 40])).toThrow(
      'a tensor of shape [1099511627776, 1099511627776] is too large',
    );
    expect(() => k.zeros([2 ** 53])).toThrow(
      'zeros: shape[0]: expected an integer >= 1, got 9007199254740992',
    );
    expect(() =>
      k.repeatRows(
        k.scope(() => k.zeros([4096])),
        2 ** 30,
      ),
    ).toThrow(/out of memory/);
    const { current, liveBuffers } = k.memoryStats();
    expect(liveBuffers - before.liveBuffers).toBe(1); // the argument of repeatRows
    expect(current).toBeGreaterThan(before.current);
  });

  test('every start is aligned to 64 bytes, and contents of the cache are not zeroed by accident', () => {
    k.scope(() => {
      const t = k.full([100], 7);
      t.dispose();
      expect((k.toArray(k.zeros([100])) as Float32Array).every((x) => x === 0)).toBe(true);
    });
  });
});

describe('RawTensor', () => {
  test('cannot be made or called by hand', () => {
    const construct = RawTensor as unknown as new () => k.RawTensor;
    expect(() => new construct()).toThrow('RawTensor cannot be constructed directly');
    expect(() => Reflect.construct(RawTensor, [1, 2])).toThrow('RawTensor cannot be constructed');
    const t = k.zeros([2]);
    expect(t instanceof RawTensor).toBe(true);
    const impostor = Object.create(t) as k.RawTensor;
    expect(() => impostor.shape).toThrow();
    expect(() => k.toArray(impostor)).toThrow('toArray: t: expected a tensor, got an object');
    expect(() => RawTensor.prototype.dispose.call({} as k.RawTensor)).toThrow();
    expect(() => RawTensor.prototype.size).toThrow();
    t.dispose();
  });

  test('prints itself', async () => {
    const { inspect } = await import('node:util');
    const t = k.zeros([2, 3], 'bf16');
    expect(inspect(t)).toBe('RawTensor bf16[2, 3]');
    t.dispose();
    expect(inspect(t)).toBe('RawTensor bf16[2, 3] (disposed)');
  });
});
