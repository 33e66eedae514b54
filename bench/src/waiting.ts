import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Modality, overrideConfig, type RunConfig, readMetrics, train } from '@d2v/core';
import type { Workload } from './workloads/index.js';

export interface WaitingReport {
  updates: number;
  /** Part of the time that the trainer waited for batches. */
  share: number;
  samplesPerSecond: number;
}

/**
 * Trains on generated files through the real loader, worker threads and all, in a temporary folder. The first updates are
 * left out: nothing is prefetched yet.
 */
export async function measureWaiting(
  modality: Modality,
  config: RunConfig,
  workload: Workload,
  updates: number,
): Promise<WaitingReport> {
  const folder = await mkdtemp(join(tmpdir(), 'd2v-bench-'));
  try {
    const samples = join(folder, 'samples');
    await workload.writeSamples(samples);
    const half = Math.max(1, Math.floor(updates / 2));
    const runConfig = overrideConfig(modality, config, {
      set: [
        `data.path=${samples}`,
        `data.cache_dir=${join(folder, 'cache')}`,
        'data.valid_share=0',
        `optimization.max_update=${2 * half}`,
        `common.log_interval=${half}`,
        'common.tensorboard=false',
        'checkpoint.save_interval_updates=0',
      ],
    });
    const runDir = join(folder, 'run');
    await train({ config: runConfig, modality, runDir });
    const records = readMetrics(join(runDir, 'metrics.jsonl'));
    const last = records.findLast((record) => record.wait_share !== undefined);
    if (!last) throw new Error('the trainer wrote no metrics');
    return {
      updates: half,
      share: Number(last.wait_share),
      samplesPerSecond: Number(last.samples_per_second),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
