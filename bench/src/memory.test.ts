import { describe, expect, it } from 'vitest';
import { judge, type MemoryPoint } from './memory.js';

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

  it('forgives the settling of the process, not its growth', () => {
    expect(judge([point(3, { rss: 500 * MiB }), ...steady.slice(1)]).flat).toBe(true);
    const growing = steady.map((p, i) => ({ ...p, rss: (800 + 10 * i) * MiB }));
    expect(judge(growing).flat).toBe(false);
  });
});
