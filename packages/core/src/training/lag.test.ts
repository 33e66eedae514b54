import { profile } from '@d2v/cuda-kernels';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { type Settings, testRuns } from './__fixtures__/runs.js';
import type { WaveOptions } from './__fixtures__/waves.js';
import type { TrainerEvent } from './events.js';

const device = vi.hoisted(() => ({ asynchronous: false }));
vi.mock('@d2v/cuda-kernels', async (original) => ({
  ...(await original<typeof import('@d2v/cuda-kernels')>()),
  asynchronous: () => device.asynchronous,
}));

const { run, bytesOf, metricsOf, stateOf, tensorOf } = testRuns();
const WEIGHT = 'blocks.0.attn.qkv.weight';
const FILES = ['model.safetensors', 'optimizer.safetensors'];

/** The same run with every result at once, and one update late; the losses that the listener heard of. */
async function both(settings: Settings, data: WaveOptions = {}) {
  const outcome = async (name: string) => {
    device.asynchronous = name === 'late';
    const losses: (readonly [update: number, loss: number])[] = [];
    const on = (event: TrainerEvent) => {
      if (event.type === 'update') losses.push([event.update, event.loss]);
    };
    return { result: await run(name, settings, { on }, data), losses };
  };
  return { now: await outcome('now'), late: await outcome('late') };
}

describe('results that are read one update late', { timeout: 60_000 }, () => {
  beforeEach(() => {
    device.asynchronous = false;
  });

  it('change nothing: not the weights, the log, the checkpoints, nor what a listener hears', async () => {
    const { now, late } = await both({
      eval: { interval_updates: 4 },
      model: { log_norms: true },
      optimization: { update_freq: 2 },
    });
    expect(late.losses).toEqual(now.losses);
    expect(late.losses.map(([update]) => update)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    expect(late.result).toMatchObject({ reason: 'max_update', update: 12, samples: now.result.samples });
    expect(metricsOf('late')).toEqual(metricsOf('now'));
    for (const update of [5, 10, 12]) {
      for (const file of FILES) expect(bytesOf('late', update, file)).toEqual(bytesOf('now', update, file));
      expect(stateOf('late', update)).toEqual(stateOf('now', update));
    }
  });

  it.each([
    [{ checkpoint: { save_interval_updates: 1, keep_interval_updates: 12 } }],
    [{ checkpoint: { save_interval_updates: 6 } }],
  ])('skip an update that is not finite, to the same bits (%j)', async (settings) => {
    const { now, late } = await both(settings, { faults: { 17: 'nan' } });
    const skipped = now.losses.filter(([, loss]) => Number.isNaN(loss)).map(([update]) => update);
    expect(skipped.length).toBeGreaterThan(0);
    expect(late.losses).toEqual(now.losses);
    expect(late.result.skippedUpdates).toBe(skipped.length);
    expect(metricsOf('late')).toEqual(metricsOf('now'));
    for (const file of FILES) expect(bytesOf('late', 12, file)).toEqual(bytesOf('now', 12, file));
    if (settings.checkpoint.save_interval_updates > 1) return;
    for (const update of skipped.filter((update) => update > 1)) {
      for (const name of ['now', 'late']) {
        for (const tensor of [WEIGHT, `_ema.${WEIGHT}`]) {
          expect(tensorOf(name, update, tensor)).toEqual(tensorOf(name, update - 1, tensor));
        }
      }
    }
  });

  it('let a run go one update beyond what a loss ends', async () => {
    const { now, late } = await both({
      stop: { loss_threshold: 100 },
      checkpoint: { save_interval_updates: 50 },
      model: { log_norms: false },
    });
    expect(now.result).toMatchObject({ reason: 'loss_threshold', update: 3, checkpoint: 'checkpoints/3' });
    expect(late.result).toMatchObject({ reason: 'loss_threshold', update: 4, checkpoint: 'checkpoints/4' });
    expect(late.losses.slice(0, 3)).toEqual(now.losses);
    expect(metricsOf('late').slice(0, 1)).toEqual(metricsOf('now'));
    device.asynchronous = false;
    await run('whole', { checkpoint: { save_interval_updates: 4 } });
    expect(tensorOf('late', 4, WEIGHT)).toEqual(tensorOf('whole', 4, WEIGHT));
    const moments = 'optimizer.safetensors';
    expect(bytesOf('late', 4, moments)).toEqual(bytesOf('whole', 4, moments));
  });

  it('are the only ones: nothing else in an update reads from the device', async () => {
    profile.start();
    await run('a', { model: { log_norms: false }, optimization: { max_update: 3 } });
    profile.stop();
    const ops = new Set(profile.report().map(({ op }) => op));
    expect(ops).toContain('readLater');
    for (const op of ['item', 'toArray']) expect(ops).not.toContain(op);
  });

  it('end a run that has diverged', async () => {
    device.asynchronous = true;
    const faults = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [i, 'nan' as const]));
    await expect(run('all', { stop: { max_nonfinite: 4 } }, {}, { faults })).rejects.toThrow(
      /update 4 the loss is NaN/,
    );
  });
});
