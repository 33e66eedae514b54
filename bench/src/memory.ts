import { setImmediate as yieldToEvents } from 'node:timers/promises';
import type { Batch } from '@d2v/core';
import * as k from '@d2v/cuda-kernels';
import type { UpdateRunner } from './runner.js';

export interface MemoryPoint {
  update: number;
  /** Bytes of tensors in use between updates. */
  current: number;
  peak: number;
  liveBuffers: number;
  /** Of the process, bytes. */
  rss: number;
}

export interface MemoryReport {
  points: MemoryPoint[];
  /** From the third update to the last. */
  liveBuffersGrowth: number;
  currentGrowth: number;
  peakGrowth: number;
  /** From half of the updates to the last: the process settles when the largest masks have come, later than the tensors do. */
  rssGrowth: number;
  flat: boolean;
}

/** The process may grow by this much: garbage of JavaScript that was not collected yet. */
const RSS_SLACK = 32 << 20;

export function memoryPoint(update: number, device: string): MemoryPoint {
  const { current, peak, liveBuffers } = k.memoryStats(device);
  return { update, current, peak, liveBuffers, rss: process.memoryUsage.rss() };
}

/** Where lengths differ, masks do too, and the peak with them: by up to this share of it. */
const PEAK_SLACK = 1 / 16;

/** One in so many updates sees whole samples: each stretch between two looks then has the same peak. */
const WHOLE_EVERY = 5;

/** Which part of its samples an update sees, from a half to all of them: hardly any two updates the same. */
export function shareOf(update: number): number {
  return update % WHOLE_EVERY === 1 ? 1 : 0.5 + ((update * 0.618034) % 1) / 2;
}

/**
 * Runs updates and looks at memory ten or more times. As the trainer does, it lets the event loop run in between: that
 * is when Node frees what the garbage collector has found.
 * @param batchOf what an update sees where samples differ in length; null: always the runner's batch
 * @param onPoint hears of each look
 */
export async function watchMemory(
  runner: UpdateRunner,
  updates: number,
  device: string,
  batchOf: ((update: number) => Batch) | null,
  onPoint: (point: MemoryPoint) => void = () => {},
): Promise<MemoryReport> {
  const points: MemoryPoint[] = [];
  const every = Math.max(1, Math.floor(updates / 10));
  const look = (update: number) => {
    const point = memoryPoint(update, device);
    points.push(point);
    onPoint(point);
  };
  for (let update = 1; update <= updates; update++) {
    // The first updates make buffers that live on; after that, the peak of each stretch is its own.
    if (update > 3 && (update - 1) % every === 0) k.resetPeakMemory(device);
    if (batchOf) runner.batch = batchOf(update);
    await runner.update();
    await yieldToEvents();
    if (update === 3 || update % every === 0 || update === updates) look(update);
  }
  return judge(points, batchOf !== null);
}

/**
 * @param points at least one, the first of them after the buffers that live on were made
 * @param varied whether samples differ in length
 */
export function judge(points: readonly MemoryPoint[], varied = false): MemoryReport {
  const [first, last] = [points[0]!, points.at(-1)!];
  const settled =
    points.find((point) => point.update >= last.update / 2 && point.update >= first.update) ?? first;
  const peaks = points.slice(1);
  const growth = {
    liveBuffersGrowth: last.liveBuffers - first.liveBuffers,
    currentGrowth: last.current - first.current,
    peakGrowth: peaks.length > 1 ? peaks.at(-1)!.peak - peaks[0]!.peak : 0,
    rssGrowth: last.rss - settled.rss,
  };
  const flat =
    growth.liveBuffersGrowth <= 0 &&
    growth.currentGrowth <= 0 &&
    growth.peakGrowth <= (varied ? first.peak * PEAK_SLACK : 0) &&
    growth.rssGrowth <= RSS_SLACK;
  return { points: [...points], ...growth, flat };
}
