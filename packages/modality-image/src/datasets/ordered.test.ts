import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { mapOrdered } from './ordered.js';

async function* numbers(count: number, seen: { ended?: boolean } = {}) {
  try {
    for (let i = 0; i < count; i++) yield i;
  } finally {
    seen.ended = true;
  }
}

describe('mapOrdered', () => {
  it('keeps the order, with so many at once', async () => {
    let [running, most] = [0, 0];
    const results: number[] = [];
    const slow = async (i: number) => {
      most = Math.max(most, ++running);
      await sleep((i * 7) % 5);
      running--;
      return i;
    };
    for await (const result of mapOrdered(numbers(20), 3, slow)) results.push(result);
    expect(results).toEqual([...Array(20).keys()]);
    expect(most).toBe(3);
  });

  it('ends with the first error, and ends its source', async () => {
    const seen: { ended?: boolean } = {};
    const results: number[] = [];
    const failing = async (i: number) => {
      await sleep(1);
      if (i === 4) throw new Error('four');
      return i;
    };
    const run = async () => {
      for await (const result of mapOrdered(numbers(20, seen), 3, failing)) results.push(result);
    };
    await expect(run()).rejects.toThrow('four');
    expect(results).toEqual([0, 1, 2, 3]);
    expect(seen.ended).toBe(true);
  });
});
