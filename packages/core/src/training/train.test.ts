import { existsSync, readdirSync, readFileSync } from 'node:fs';
import * as k from '@d2v/cuda-kernels';
import { describe, expect, it } from 'vitest';
import { openSafetensors } from '../interchange/safetensors.js';
import { abortAt, type Settings, testRuns } from './__fixtures__/runs.js';
import { waves } from './__fixtures__/waves.js';
import type { TrainerEvent } from './events.js';

const { run, pathOf, bytesOf, metricsOf, stateOf, tensorOf } = testRuns();

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
    expect(readdirSync(pathOf('a')).sort()).toEqual([
      'checkpoints',
      'config.yaml',
      'curves.html',
      'metrics.jsonl',
      'tensorboard',
    ]);
    expect(readdirSync(pathOf('a', 'checkpoints')).sort()).toEqual(['10', '12', '5', 'last']);
    expect(readdirSync(pathOf('a', 'tensorboard'))).toHaveLength(1);
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
      expect(readFileSync(pathOf('a', file), 'utf8')).not.toContain(pathOf());
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
        { ...abortAt(stop), resume: existsSync(pathOf('broken')) },
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
    expect(readFileSync(pathOf('broken', 'bad-samples.jsonl'))).toEqual(
      readFileSync(pathOf('whole', 'bad-samples.jsonl')),
    );
  });

  it('computes the same with evaluation as without', async () => {
    await run('with', { eval: { interval_updates: 3 } });
    await run('without', {});
    expect(tensorOf('with', 12, 'blocks.0.attn.qkv.weight')).toEqual(
      tensorOf('without', 12, 'blocks.0.attn.qkv.weight'),
    );
  });

  it.each(['samples', 'length'])('accumulates to exactly the big batch, counted in %s', async (unit) => {
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
      // Waves of 16 frames.
      data: unit === 'samples' ? { batch_size: batch } : { batch_size: null, batch_length: 16 * batch },
      optimization: { max_update: 1, update_freq: freq, clip_norm: 0 },
    });
    const openSource = async () => ({ ...waves(), sizes: () => new Float64Array(40).fill(16) });
    await run('big', settings(12, 1), { openSource });
    await run('small', settings(3, 4), { openSource });
    const opened = openSafetensors(pathOf('big', 'checkpoints', '1', 'optimizer.safetensors'));
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
    expect(existsSync(pathOf('time', timed.checkpoint, 'model.safetensors'))).toBe(true);
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
    expect(readdirSync(pathOf('a', 'checkpoints')).sort()).toEqual(['5', 'last']);
  });

  it('lists damaged samples, and stops when there are too many', async () => {
    const faults = Object.fromEntries([1, 2, 3, 4, 5, 6].map((i) => [i, 'bad' as const]));
    const result = await run('some', { data: { max_bad_share: 0.2 } }, {}, { faults });
    expect(result.badSamples).toBe(6);
    expect(readFileSync(pathOf('some', 'bad-samples.jsonl'), 'utf8')).toContain(
      '"file":"4.wav","reason":"made so"',
    );
    const more = Object.fromEntries(Array.from({ length: 14 }, (_, i) => [i, 'bad' as const]));
    await expect(run('many', { data: { max_bad_share: 0.1 } }, {}, { faults: more })).rejects.toThrow(
      /1[1-4] of 40 samples are damaged/,
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
    expect(existsSync(pathOf('a', 'checkpoints', 'best', 'model.safetensors'))).toBe(true);
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
    // Either may be the first to take the folder.
    const outcomes = await Promise.allSettled([run('a', {}), run('a', {})]);
    const refused = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
    expect(refused).toEqual([
      expect.objectContaining({ message: expect.stringMatching(/in use by process/) }),
    ]);
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
    await expect(run('a', { common: { device: 'cuda:7' } })).rejects.toThrow(/no device "cuda:7", only cpu/);
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
