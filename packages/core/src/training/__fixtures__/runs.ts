import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import { openSafetensors } from '../../interchange/safetensors.js';
import type { TrainerEvent } from '../events.js';
import { readMetrics } from '../metrics-log.js';
import { type TrainOptions, train } from '../train.js';
import { type WaveOptions, waveConfig, waves, wavesModality } from './waves.js';

export type Settings = Parameters<typeof waveConfig>[0];

/** What depends on the clock. */
const TIMES = new Set(['seconds', 'samples_per_second', 'wait_share']);

/** Runs on waves, and what they leave, in a temporary folder for each test; call it at the top of a test file. */
export function testRuns() {
  let parent: string;
  beforeEach(() => {
    parent = mkdtempSync(join(tmpdir(), 'd2v-train-'));
  });
  afterEach(() => rmSync(parent, { recursive: true, force: true }));

  const pathOf = (...names: string[]) => join(parent, ...names);
  const bytesOf = (name: string, update: number, file = 'model.safetensors') =>
    readFileSync(pathOf(name, 'checkpoints', String(update), file));
  return {
    pathOf,
    bytesOf,
    run: (name: string, settings: Settings, options: Partial<TrainOptions> = {}, data: WaveOptions = {}) =>
      train({
        config: waveConfig(settings),
        modality: wavesModality,
        runDir: pathOf(name),
        openSource: async () => waves(data),
        ...options,
      }),
    metricsOf: (name: string) =>
      readMetrics(pathOf(name, 'metrics.jsonl')).map((record) =>
        Object.fromEntries(Object.entries(record).filter(([key]) => !TIMES.has(key))),
      ),
    stateOf(name: string, update: number) {
      const { seconds: _, ...state } = JSON.parse(bytesOf(name, update, 'trainer.json').toString());
      return state;
    },
    tensorOf(name: string, update: number, tensor: string, file = 'model.safetensors') {
      const opened = openSafetensors(pathOf(name, 'checkpoints', String(update), file));
      try {
        return opened.readFloat32(tensor);
      } finally {
        opened.close();
      }
    },
  };
}

/** Aborts once an update is done. */
export function abortAt(update: number): Pick<TrainOptions, 'signal' | 'on'> {
  const controller = new AbortController();
  const on = (event: TrainerEvent) => {
    if (event.type === 'update' && event.update === update) controller.abort();
  };
  return { signal: controller.signal, on };
}
