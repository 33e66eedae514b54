import { describe, expect, it } from 'vitest';
import { judge, type MemoryPoint, shareOf } from './memory.js';
import { shortenSequences } from './workloads/shared.js';

const MiB = 2 ** 20;
const point = (update: number, changes: Partial<MemoryPoint> = {}): MemoryPoint => ({
  update,
  current: 100 * MiB,
  peak: 300 * MiB,
  liveBuffers: 40,
  rss: 800 * MiB,
  ...changes,
});
const steady = [point(3), ...Array.from({ length: 10 }, (_, i) => point(50 * (i + 1)))];

describe('judge', () => {
  it('accepts memory that stays as it is', () => {
    expect(judge(steady)).toMatchObject({ flat: true, liveBuffersGrowth: 0, rssGrowth: 0 });
  });

  it('finds a single leaked buffer', () => {
    const report = judge([...steady.slice(0, -1), point(500, { liveBuffers: 41 })]);
    expect(report).toMatchObject({ flat: false, liveBuffersGrowth: 1 });
  });

  it('finds a peak that grows', () => {
    expect(judge([...steady.slice(0, -1), point(500, { peak: 300 * MiB + 1 })]).flat).toBe(false);
  });

  it('forgives what masks of other lengths change of the peak, not more', () => {
    const last = (peak: number) => [...steady.slice(0, -1), point(500, { peak })];
    expect(judge(last(315 * MiB), true).flat).toBe(true);
    expect(judge(last(330 * MiB), true).flat).toBe(false);
  });

  it('forgives the settling of the process, not its growth', () => {
    expect(judge([point(3, { rss: 500 * MiB }), ...steady.slice(1)]).flat).toBe(true);
    const growing = steady.map((p, i) => ({ ...p, rss: (800 + 10 * i) * MiB }));
    expect(judge(growing).flat).toBe(false);
  });
});

describe('lengths of samples', () => {
  it('differ from update to update, with whole samples in every stretch', () => {
    const shares = Array.from({ length: 500 }, (_, i) => shareOf(i + 1));
    expect(Math.min(...shares)).toBeGreaterThanOrEqual(0.5);
    expect(Math.max(...shares)).toBe(1);
    expect(shares.filter((share) => share === 1)).toHaveLength(100);
    expect(new Set(shares).size).toBeGreaterThan(390);
  });

  it('keep the beginning of each sequence', () => {
    const source = { data: Int32Array.from({ length: 12 }, (_, i) => i), shape: [2, 6] };
    const { tensors, ids } = shortenSequences({ size: 2, tensors: { source }, ids: [7, 8] }, 0.5);
    expect(tensors.source).toEqual({ data: Int32Array.of(0, 1, 2, 6, 7, 8), shape: [2, 3] });
    expect(ids).toEqual([7, 8]);
  });
});
