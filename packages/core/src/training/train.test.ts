import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as k from '@d2v/cuda-kernels';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { resolveConfig } from '../config/resolve.js';
import { openSafetensors } from '../interchange/safetensors.js';
import type { Modality } from '../modality/contract.js';
import { framesOf, type WaveOptions, waveConfig, waves, wavesModality } from './__fixtures__/waves.js';
import type { TrainerEvent } from './events.js';
import { readMetrics } from './metrics-log.js';
import { type TrainOptions, train } from './train.js';

let parent: string;
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'd2v-train-'));
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

type Settings = Parameters<typeof waveConfig>[0];

function run(name: string, settings: Settings, options: Partial<TrainOptions> = {}, data: WaveOptions = {}) {
  return train({
    config: waveConfig(settings),
    modality: wavesModality,
    runDir: join(parent, name),
    openSource: async () => waves(data),
    ...options,
  });
}

const TIMES = new Set(['seconds', 'samples_per_second', 'wait_share']);
const metricsOf = (name: string) =>
  readMetrics(join(parent, name, 'metrics.jsonl')).map((record) =>
    Object.fromEntries(Object.entries(record).filter(([key]) => !TIMES.has(key))),
  );
const bytesOf = (name: string, update: number, file = 'model.safetensors') =>
  readFileSync(join(parent, name, 'checkpoints', String(update), file));
function stateOf(name: string, update: number) {
  const { seconds: _, ...state } = JSON.parse(bytesOf(name, update, 'trainer.json').toString());
  return state;
}
function tensorOf(name: string, update: number, tensor: string, file = 'model.safetensors') {
  const opened = openSafetensors(join(parent, name, 'checkpoints', String(update), file));
  try {
    return opened.readFloat32(tensor);
  } finally {
    opened.close();
  }
}

/** Aborts once an update is done. */
function abortAt(update: number): Pick<TrainOptions, 'signal' | 'on'> {
  const controller = new AbortController();
  const on = (event: TrainerEvent) => {
    if (event.type === 'update' && event.update === update) controller.abort();
  };
  return { signal: controller.signal, on };
}

describe('train', { timeout: 120_000 }, () => {
  it('fills the run folder and tells what happens', async () => {
    const events: TrainerEvent[] = [];
    const result = await run('a', { common: { tensorboard: true } }, { on: (event) => events.push(event) });
    expect(result).toMatchObject({
      reason: 'max_update',
      update: 12,
      samples: 96,
      checkpoint: 'checkpoints/12',
    });
    expect(readdirSync(join(parent, 'a')).sort()).toEqual([
      'checkpoints',
      'config.yaml',
      'curves.html',
      'metrics.jsonl',
      'tensorboard',
    ]);
    expect(readdirSync(join(parent, 'a', 'checkpoints')).sort()).toEqual(['10', '12', '5', 'best', 'last']);
    expect(readdirSync(join(parent, 'a', 'tensorboard'))).toHaveLength(1);
    expect(events[0]).toMatchObject({ type: 'start', resumedFrom: null, maxUpdate: 12, samplesPerEpoch: 40 });
    expect(events.filter(({ type }) => type === 'update')).toHaveLength(12);
    expect(
      events.filter(({ type }) => type === 'checkpoint').map((event) => 'path' in event && event.path),
    ).toEqual(['checkpoints/5', 'checkpoints/10', 'checkpoints/12']);
    expect(events.at(-1)).toMatchObject({ type: 'stop', reason: 'max_update' });
    const records = metricsOf('a');
    expect(records.map(({ update }) => update)).toEqual([3, 6, 9, 12]);
    for (const name of [
      'loss',
      'target_var',
      'pred_var',
      'local_var',
      'masked_pct',
      'ema_decay',
      'grad_norm',
      'lr',
    ]) {
      expect(records[0]).toHaveProperty(name, expect.any(Number));
    }
    for (const file of ['config.yaml', 'metrics.jsonl', 'curves.html', 'checkpoints/12/trainer.json']) {
      expect(readFileSync(join(parent, 'a', file), 'utf8')).not.toContain(parent);
    }
  });

  it('learns', async () => {
    // A teacher that stays what it is: its targets get no harder.
    const model = { ema_decay: 1, ema_end_decay: 1 };
    await run('a', { model, optimization: { max_update: 150, lr: 5e-3 }, common: { log_interval: 10 } });
    const losses = metricsOf('a').map(({ loss }) => loss!);
    expect(losses.at(-1)!).toBeLessThan(losses[0]! * 0.8);
  });

  it('gives the very first update the rate 0 with a warm-up', async () => {
    await run('a', { optimization: { max_update: 4 }, common: { log_interval: 1 } });
    expect(metricsOf('a').map(({ lr }) => lr)).toEqual(
      [0, 1e-3 / 3, (1e-3 * 2) / 3, 1e-3].map((lr) => expect.closeTo(lr, 12)),
    );
  });

  it('resumes to the same bits as an uninterrupted run', async () => {
    const settings = {
      eval: { interval_updates: 4 },
      checkpoint: { best_checkpoint_metric: 'eval/knn_top1' },
    };
    const faults = { 3: 'bad', 17: 'bad' } as const;
    const data = { faults };
    const lenient = { ...settings, data: { max_bad_share: 0.2 } };
    await run('whole', lenient, {}, data);
    for (const stop of [2, 7, 8, 11]) {
      const result = await run(
        'broken',
        lenient,
        { ...abortAt(stop), resume: existsSync(join(parent, 'broken')) },
        data,
      );
      expect(result).toMatchObject({ reason: 'signal', update: stop, checkpoint: `checkpoints/${stop}` });
    }
    const result = await run('broken', lenient, { resume: true }, data);
    expect(result.reason).toBe('max_update');
    for (const file of ['model.safetensors', 'optimizer.safetensors']) {
      expect(bytesOf('broken', 12, file).equals(bytesOf('whole', 12, file))).toBe(true);
    }
    expect(stateOf('broken', 12)).toEqual(stateOf('whole', 12));
    expect(metricsOf('broken')).toEqual(metricsOf('whole'));
    expect(readFileSync(join(parent, 'broken', 'bad-samples.jsonl'))).toEqual(
      readFileSync(join(parent, 'whole', 'bad-samples.jsonl')),
    );
  });

  it('resumes batches by length to the same bits, with damaged samples among them', async () => {
    const data = { variable: true, faults: { 3: 'bad', 17: 'bad', 29: 'bad' } } as const;
    const settings = {
      data: { batch_size: null, batch_length: 40, max_bad_share: 0.2 },
      optimization: { max_update: 14, update_freq: 2 },
    };
    const starts: string[] = [];
    const on = (event: TrainerEvent) => {
      if (event.type === 'start') starts.push(event.effectiveBatch);
      if (event.type === 'warning') expect(event.message).toContain('damaged');
    };
    await run('whole', settings, { on }, data);
    expect(starts[0]).toMatch(
      /^one update: up to 80 frames \(40 x 2 accumulated\), on average .*one epoch: 40 samples = 442 frames/,
    );
    for (const stop of [1, 6, 7, 12]) {
      const result = await run(
        'broken',
        settings,
        { ...abortAt(stop), resume: existsSync(join(parent, 'broken')) },
        data,
      );
      expect(result).toMatchObject({ reason: 'signal', update: stop });
    }
    await run('broken', settings, { resume: true, on }, data);
    for (const file of ['model.safetensors', 'optimizer.safetensors']) {
      expect(bytesOf('broken', 14, file).equals(bytesOf('whole', 14, file))).toBe(true);
    }
    expect(stateOf('broken', 14)).toEqual(stateOf('whole', 14));
    expect(stateOf('whole', 14).badSamples.indices).toHaveLength(3);
    expect(metricsOf('broken')).toEqual(metricsOf('whole'));
  });

  it('keeps batches within their length, substitutes included', async () => {
    const sizes: number[][] = [];
    const watched: Modality = {
      ...wavesModality,
      collate(samples, data) {
        sizes.push(samples.map(({ id }) => framesOf(id)));
        return wavesModality.collate(samples, data);
      },
    };
    const faults = Object.fromEntries([1, 5, 9, 12, 30].map((i) => [i, 'bad' as const]));
    const settings = { data: { batch_size: 4, batch_length: 40, max_bad_share: 0.5 } };
    await run('a', settings, { modality: watched }, { variable: true, faults });
    // The first two are the longest, for the estimate of memory.
    const [longest, ...batches] = sizes;
    expect(longest).toEqual([16, 16]);
    expect(batches.length).toBeGreaterThanOrEqual(12);
    for (const batch of batches) {
      expect(batch.length).toBeLessThanOrEqual(4);
      expect(batch.length * Math.max(...batch)).toBeLessThanOrEqual(40);
    }
    const alone = { data: { batch_size: null, batch_length: 10 }, optimization: { max_update: 30 } };
    sizes.length = 0;
    expect(await run('b', alone, { modality: watched }, { variable: true })).toMatchObject({ update: 30 });
    for (const batch of sizes.slice(1)) if (Math.max(...batch) > 5) expect(batch).toHaveLength(1);
  });

  it('passes over a batch that is damaged whole, and goes on after it', async () => {
    // All others are longer than a batch may be, so there is nothing to put in its place.
    const lonely = { length: 12, variable: true, faults: { 3: 'bad' } } as const;
    const source = () => ({
      ...waves(lonely),
      sizes: () => Float64Array.from({ length: 12 }, (_, i) => (i === 3 ? 1 : 40)),
    });
    const settings = {
      data: { batch_size: 3, batch_length: 30, max_bad_share: 0.5 },
      optimization: { max_update: 22 },
    };
    const result = await run('a', settings, { openSource: async () => source() });
    // Two epochs of eleven.
    expect(result).toMatchObject({ update: 22, samples: 22, badSamples: 1 });
    expect(stateOf('a', 22).position).toEqual({ epoch: 1, offset: expect.toSatisfy((n) => n >= 11) });
    const faults = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [i, 'bad' as const]));
    const all = run('b', settings, {
      openSource: async () => ({ ...source(), ...waves({ faults, length: 12 }) }),
    });
    await expect(all).rejects.toThrow(/damaged/);
  });

  it('says what batches by length need', async () => {
    const length = { data: { batch_length: 40 } };
    await expect(run('a', length)).rejects.toThrow(/data that tells the lengths.*set data\.batch_size/);
    expect(() => waveConfig({ data: { batch_size: null } })).toThrow(/both null/);
    const { sizeUnit: _, ...without } = wavesModality;
    const set = ['data.batch_length=4'];
    expect(() => resolveConfig({ modality: without, set })).toThrow(/modality waves have no lengths/);
  });

  it('computes the same with evaluation as without', async () => {
    await run('with', { eval: { interval_updates: 3 } });
    await run('without', {});
    expect(tensorOf('with', 12, 'blocks.0.attn.qkv.weight')).toEqual(
      tensorOf('without', 12, 'blocks.0.attn.qkv.weight'),
    );
  });

  it('accumulates to exactly the big batch', async () => {
    const still = {
      encoder_dropout: 0,
      post_mlp_drop: 0,
      attention_dropout: 0,
      layerdrop: 0,
      cls_loss: 0.5,
      // Masks of single tokens: spans are evened out over the rows of a batch.
      modalities: { waves: { mask_length: 1 } },
    };
    const common = {
      model: still,
      lr_scheduler: { name: 'constant', warmup_updates: 0 },
      checkpoint: { save_interval_updates: 1 },
    };
    const settings = (batch: number, freq: number): Settings => ({
      ...(common as Settings),
      data: { batch_size: batch },
      optimization: { max_update: 1, update_freq: freq, clip_norm: 0 },
    });
    await run('big', settings(12, 1));
    await run('small', settings(3, 4));
    const opened = openSafetensors(join(parent, 'big', 'checkpoints', '1', 'optimizer.safetensors'));
    const names = opened.names.filter((name) => name.startsWith('m.'));
    opened.close();
    expect(names.length).toBeGreaterThan(20);
    for (const name of names) {
      const big = tensorOf('big', 1, name, 'optimizer.safetensors');
      const small = tensorOf('small', 1, name, 'optimizer.safetensors');
      const norm = Math.hypot(...big);
      const difference = Math.hypot(...big.map((value, i) => value - small[i]!));
      expect(difference, name).toBeLessThan(1e-5 * norm + 1e-9);
    }
    expect(metricsOf('small')[0]!.loss).toBeCloseTo(metricsOf('big')[0]!.loss!, 6);
  });

  it('stops at a loss threshold, a plateau and a time limit', async () => {
    const long = { optimization: { max_update: 500 } };
    expect(await run('threshold', { ...long, stop: { loss_threshold: 100 } })).toMatchObject({
      reason: 'loss_threshold',
      update: 3,
    });
    const plateau = { plateau_patience: 4, plateau_min_delta: 0.9 };
    expect(await run('plateau', { ...long, stop: plateau })).toMatchObject({ reason: 'plateau', update: 7 });
    const timed = await run('time', { ...long, stop: { max_seconds: 0.01 } });
    expect(timed).toMatchObject({ reason: 'max_seconds' });
    expect(existsSync(join(parent, 'time', timed.checkpoint, 'model.safetensors'))).toBe(true);
    const again = await run('time', { ...long, stop: { max_seconds: 0.01 } }, { resume: true });
    expect(again).toMatchObject({ reason: 'max_seconds', update: timed.update });
  });

  it('does as it is told before the first update', async () => {
    const result = await run('a', {}, { signal: AbortSignal.abort() });
    expect(result).toMatchObject({ reason: 'signal', update: 0, checkpoint: 'checkpoints/0' });
    expect((await run('a', {}, { resume: true })).update).toBe(12);
    await run('whole', {});
    expect(bytesOf('a', 12).equals(bytesOf('whole', 12))).toBe(true);
  });

  it('skips updates that are not finite, and stops when they do not end', async () => {
    const some = await run('some', {}, {}, { faults: { 7: 'nan' } });
    expect(some.skippedUpdates).toBeGreaterThan(0);
    expect(some.update).toBe(12);
    for (const value of tensorOf('some', 12, 'blocks.0.mlp.fc1.weight'))
      expect(Number.isFinite(value)).toBe(true);
    const all = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [i, 'nan' as const]));
    const broken = run('all', { stop: { max_nonfinite: 4 } }, {}, { faults: all });
    await expect(broken).rejects.toThrow(/diverged: at update 4 .*4 updates in a row/);
  });

  it('stops a collapsed model and keeps the checkpoint before', async () => {
    const guard = { model: { min_target_var: 1000 }, stop: { collapse_after: 7 } };
    await expect(run('a', guard)).rejects.toThrow(/collapsed: at update 8 .*min_target_var 1000/);
    expect(readdirSync(join(parent, 'a', 'checkpoints')).sort()).toEqual(['5', 'best', 'last']);
  });

  it('lists damaged samples, and stops when there are too many', async () => {
    const faults = Object.fromEntries([1, 2, 3, 4, 5, 6].map((i) => [i, 'bad' as const]));
    const result = await run('some', { data: { max_bad_share: 0.2 } }, {}, { faults });
    expect(result.badSamples).toBe(6);
    expect(readFileSync(join(parent, 'some', 'bad-samples.jsonl'), 'utf8')).toContain(
      '"file":"4.wav","reason":"made so"',
    );
    await expect(run('many', { data: { max_bad_share: 0.1 } }, {}, { faults })).rejects.toThrow(
      /[56] of 40 samples are damaged \(1[35] %\)/,
    );
    await expect(run('other', {}, {}, { faults: { 9: 'error' } })).rejects.toThrow(
      /cannot load sample wave 9: cable unplugged/,
    );
  });

  it('evaluates, and saves the best at once', async () => {
    const result = await run('a', {
      eval: { interval_updates: 2, linear: true },
      checkpoint: { save_interval_updates: 0, best_checkpoint_metric: 'eval/knn_top1' },
    });
    expect(result.update).toBe(12);
    const scores = metricsOf('a').filter((record) => 'eval/knn_top1' in record);
    expect(scores.map(({ update }) => update)).toEqual([2, 4, 6, 8, 10, 12]);
    expect(scores[0]).toHaveProperty('eval/linear_top1');
    const best = Math.max(...scores.map((record) => record['eval/knn_top1']!));
    const first = scores.find((record) => record['eval/knn_top1'] === best)!.update;
    expect(existsSync(join(parent, 'a', 'checkpoints', 'best', 'model.safetensors'))).toBe(true);
    expect(stateOf('a', 12).best).toEqual({ metric: 'eval/knn_top1', value: best, update: first });
    await expect(run('b', { eval: { interval_updates: 2 } }, {}, { labelled: false })).rejects.toThrow(
      /no labelled/,
    );
  });

  it('gives parameter groups rates of their own', async () => {
    const groups = [{ match: '\\.decoder\\.', lr_scale: 0, weight_decay: null }];
    await run('frozen', { optimizer: { groups, weight_decay: 0 } });
    await run('zero', { optimizer: { groups, weight_decay: 0 }, optimization: { max_update: 1 } });
    const name = 'modality_encoders.WAVES.decoder.proj.weight';
    expect(tensorOf('frozen', 12, name)).toEqual(tensorOf('zero', 1, name));
    expect(tensorOf('frozen', 12, 'blocks.0.norm1.weight')).not.toEqual(
      tensorOf('zero', 1, 'blocks.0.norm1.weight'),
    );
    await expect(
      run('b', { optimizer: { groups: [{ match: '(', lr_scale: 1, weight_decay: null }] } }),
    ).rejects.toThrow(/not a regular expression/);
  });

  it('keeps two runs apart, and a run from being overwritten', async () => {
    const first = run('a', {});
    await expect(run('a', {})).rejects.toThrow(/in use by process/);
    await first;
    await expect(run('a', {})).rejects.toThrow(/holds a run already.*--resume/);
  });

  it('says what changed between a run and its continuation', async () => {
    await run('a', {}, abortAt(6));
    const warnings: string[] = [];
    const on = (event: TrainerEvent) => {
      if (event.type === 'warning') warnings.push(event.message);
    };
    await run('a', { optimization: { lr: 2e-3 } }, { resume: true, on });
    expect(warnings).toEqual(['resuming with changed settings: optimization.lr 0.001 -> 0.002']);
    await expect(run('a', { model: { depth: 3 } }, { resume: true })).rejects.toThrow(/missing|another/);
  });

  it('refuses a device that is not there', async () => {
    await expect(run('a', { common: { device: 'cuda:7' } })).rejects.toThrow(
      /no device "cuda:7" here, only cpu/,
    );
  });

  it('holds no more memory after many updates than after three', async () => {
    const live: number[] = [];
    const bytes: number[] = [];
    const on = (event: TrainerEvent) => {
      if (event.type !== 'update') return;
      const stats = k.memoryStats();
      live.push(stats.liveBuffers);
      bytes.push(stats.current);
    };
    await run('a', { optimization: { max_update: 60 }, model: { layerdrop: 0 } }, { on });
    // What earlier tests left to the garbage collector may go in between; nothing may come.
    expect(Math.max(...live.slice(3))).toBe(live[3]);
    expect(Math.max(...bytes.slice(3))).toBe(bytes[3]);
  });
});
