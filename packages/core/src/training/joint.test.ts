/** Runs of several modalities. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSafetensors } from '../interchange/safetensors.js';
import { bothConfig, bothModalities, steps } from './__fixtures__/joint.js';
import { waveConfig, waves, wavesModality } from './__fixtures__/waves.js';
import type { TrainerEvent } from './events.js';
import { readMetrics } from './metrics-log.js';
import { modalityChoice, updateShares } from './modality-choice.js';
import { type TrainOptions, train } from './train.js';

let parent: string;
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'd2v-joint-'));
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

type Settings = Parameters<typeof bothConfig>[0];

const openSource: TrainOptions['openSource'] = async (_split, modality) =>
  modality === 'waves' ? waves() : steps();

function run(name: string, settings: Settings = {}, options: Partial<TrainOptions> = {}) {
  const config = bothConfig(settings);
  return train({ config, modalities: bothModalities, runDir: join(parent, name), openSource, ...options });
}

const TIMES = new Set(['seconds', 'samples_per_second', 'wait_share']);
const metricsOf = (name: string) =>
  readMetrics(join(parent, name, 'metrics.jsonl')).map((record) =>
    Object.fromEntries(Object.entries(record).filter(([key]) => !TIMES.has(key))),
  );
const fileOf = (name: string, update: number, file = 'model.safetensors') =>
  join(parent, name, 'checkpoints', String(update), file);
function stateOf(name: string, update: number) {
  const { seconds: _, ...state } = JSON.parse(readFileSync(fileOf(name, update, 'trainer.json'), 'utf8'));
  return state;
}
function tensorsOf(name: string, update: number, part: RegExp, file = 'model.safetensors') {
  const opened = openSafetensors(fileOf(name, update, file));
  try {
    const names = opened.names.filter((tensor) => part.test(tensor));
    expect(names).not.toEqual([]);
    return names.map((tensor) => [...opened.readFloat32(tensor)]);
  } finally {
    opened.close();
  }
}

describe('the choice of modalities', () => {
  it('follows from seed and update, with the ratios as odds', () => {
    const config = bothConfig({ joint: { ratios: { waves: 3 } } });
    const choose = modalityChoice(config);
    const drawn = Array.from({ length: 4000 }, (_, update) => choose(update));
    expect(drawn.filter((name) => name === 'waves').length / 4000).toBeCloseTo(0.75, 1);
    expect(Array.from({ length: 50 }, (_, i) => modalityChoice(config)(3950 + i))).toEqual(drawn.slice(3950));
    const other = modalityChoice(bothConfig({ joint: { ratios: { waves: 3 } }, common: { seed: 12 } }));
    expect(drawn.slice(0, 50)).not.toEqual(Array.from({ length: 50 }, (_, update) => other(update)));
    expect(updateShares(config)).toEqual([
      ['waves', 0.75],
      ['steps', 0.25],
    ]);
    expect(modalityChoice(waveConfig())(5)).toBe('waves');
  });
});

describe('a joint run', { timeout: 120_000 }, () => {
  it('tells what happens to each modality, in one folder', async () => {
    const events: TrainerEvent[] = [];
    const result = await run('a', { eval: { interval_updates: 6 } }, { on: (event) => events.push(event) });
    expect(result).toMatchObject({ reason: 'max_update', update: 12 });
    const [start] = events;
    if (start?.type !== 'start') throw new Error('no start');
    expect(start).toMatchObject({ modalities: ['waves', 'steps'], samplesPerEpoch: 66 });
    expect(start.effectiveBatch[1]).toBe(
      'one update: 4 samples x 2 masks = 8 masked views; one epoch: 26 samples = 6.5 updates; ' +
        'the run: about 6 of 12 updates = 0.923 epochs',
    );
    const updates = events.flatMap((event) => (event.type === 'update' ? event.modality : []));
    expect(new Set(updates)).toEqual(new Set(['waves', 'steps']));
    const samples = updates.reduce((sum, name) => sum + (name === 'waves' ? 8 : 4), 0);
    expect(result.samples).toBe(samples);
    const all = Object.assign({}, ...metricsOf('a'));
    for (const name of ['waves', 'steps']) {
      for (const key of [
        'loss',
        'loss_regression',
        'loss_cls',
        'target_var',
        'pred_var',
        'local_var',
        'grad_norm',
      ]) {
        expect(all).toHaveProperty(`${key}_${name}`, expect.any(Number));
      }
      expect(all).toHaveProperty([`eval/knn_top1_${name}`], expect.any(Number));
      expect(all).toHaveProperty(`epoch_${name}`);
    }
    expect(all).not.toHaveProperty('target_var');
    expect(all).toHaveProperty('loss');
    expect(readFileSync(join(parent, 'a', 'curves.html'), 'utf8')).toContain('<h2>steps</h2>');
    const file = openSafetensors(fileOf('a', 12));
    expect(file.metadata.get('modality')).toBe('waves,steps');
    for (const name of [
      'modality_encoders.WAVES.context_encoder.blocks.0.attn.qkv.weight',
      '_ema.modality_encoders.STEPS.local_encoder.linear.weight',
    ]) {
      expect(file.names).toContain(name);
    }
    file.close();
  });

  it('leaves weights, moments and step counts of the other modality alone, and lets its teacher follow', async () => {
    const choose = modalityChoice(bothConfig());
    const update = Array.from({ length: 12 }, (_, i) => i).find((i) => i > 0 && choose(i) === 'waves')!;
    await run('a', { checkpoint: { save_interval_updates: 1, keep_interval_updates: 20 } });
    const at = (part: RegExp, file?: string) =>
      [update, update + 1].map((n) => tensorsOf('a', n, part, file)) as [number[][], number[][]];
    for (const file of ['model.safetensors', 'optimizer.safetensors']) {
      const [before, after] = at(/^(m\.|v\.)?modality_encoders\.STEPS/, file);
      expect(after).toEqual(before);
      const [then, now] = at(/^(m\.|v\.)?modality_encoders\.WAVES/, file);
      expect(now).not.toEqual(then);
      const [shared, moved] = at(/^(m\.|v\.)?blocks/, file);
      expect(moved).not.toEqual(shared);
    }
    const [before, after] = [stateOf('a', update).adamSteps, stateOf('a', update + 1).adamSteps];
    expect(after).toEqual({
      ...before,
      default: update + 1,
      'default of WAVES': before['default of WAVES'] + 1,
    });
    const steps = Object.values(stateOf('a', 12).adamSteps as Record<string, number>);
    expect(steps.sort((a, b) => a - b).at(-1)).toBe(12);
  });

  it('learns both', async () => {
    // A teacher that stays what it is: its targets get no harder.
    const model = { ema_decay: 1, ema_end_decay: 1 };
    await run('a', { model, optimization: { max_update: 300, lr: 5e-3 }, common: { log_interval: 30 } });
    for (const name of ['waves', 'steps']) {
      const losses = metricsOf('a').map((row) => row[`loss_${name}`]!);
      expect(losses.at(-1)!).toBeLessThan(losses[0]! * 0.8);
    }
  });

  it('resumes to the same bits as an uninterrupted run', async () => {
    const settings = {
      joint: { ratios: { waves: 2 } },
      data: { steps: { max_bad_share: 0.2 } },
      optimization: { update_freq: 2, max_update: 14 },
      eval: { interval_updates: 4 },
      checkpoint: { best_checkpoint_metric: 'eval/knn_top1_steps' },
    };
    const withDamage: TrainOptions['openSource'] = async (split, modality) =>
      modality === 'waves' ? waves() : steps({ bad: split === 'train' ? [3, 8] : [] });
    await run('whole', settings, { openSource: withDamage });
    for (const [i, stop] of [1, 5, 6, 11].entries()) {
      const controller = new AbortController();
      const on = (event: TrainerEvent) => {
        if (event.type === 'update' && event.update === stop) controller.abort();
      };
      const options = { openSource: withDamage, signal: controller.signal, on, resume: i > 0 };
      expect(await run('broken', settings, options)).toMatchObject({ reason: 'signal', update: stop });
    }
    await run('broken', settings, { openSource: withDamage, resume: true });
    for (const file of ['model.safetensors', 'optimizer.safetensors']) {
      expect(readFileSync(fileOf('broken', 14, file)).equals(readFileSync(fileOf('whole', 14, file)))).toBe(
        true,
      );
    }
    expect(stateOf('broken', 14)).toEqual(stateOf('whole', 14));
    expect(stateOf('whole', 14).parts.steps.badSamples.indices).toHaveLength(2);
    expect(metricsOf('broken')).toEqual(metricsOf('whole'));
    const list = (name: string) => readFileSync(join(parent, name, 'bad-samples-steps.jsonl'), 'utf8');
    expect(list('broken')).toBe(list('whole'));
    expect(existsSync(join(parent, 'whole', 'bad-samples-waves.jsonl'))).toBe(false);
  });

  it('shares a decoder on request, beside or instead of their own', async () => {
    const shared = {
      decoder_dim: 16,
      decoder_groups: 2,
      decoder_kernel: 3,
      decoder_layers: 1,
      input_dropout: 0,
    };
    const model = { shared_decoder: shared, modalities: { steps: { decoder: null } } };
    await run('a', { model });
    const all = Object.assign({}, ...metricsOf('a'));
    expect(all).toHaveProperty('loss_regression_0_waves');
    expect(all).toHaveProperty('loss_regression_1_waves');
    expect(all).toHaveProperty('loss_regression_steps');
    tensorsOf('a', 12, /^shared_decoder\.blocks/);
  });

  it('stops when all losses are low', async () => {
    const result = await run('a', { stop: { loss_threshold: 1000, loss_window: 2 } });
    expect(result.reason).toBe('loss_threshold');
    expect(result.message).toMatch(/waves .*, steps .*, are all at or below/);
  });

  it('evaluates what has labels', async () => {
    const unlabelled: TrainOptions['openSource'] = async (_split, modality) =>
      modality === 'waves' ? waves() : steps({ labelled: false });
    await run('a', { eval: { interval_updates: 12 } }, { openSource: unlabelled });
    const all = Object.assign({}, ...metricsOf('a'));
    expect(all).toHaveProperty(['eval/knn_top1_waves']);
    expect(all).not.toHaveProperty(['eval/knn_top1_steps']);
  });

  it('says what is wrong', async () => {
    const metric = (name: string) => ({
      checkpoint: { best_checkpoint_metric: name },
      eval: { interval_updates: 6 },
    });
    await expect(run('a', metric('eval/knn_top1'))).rejects.toThrow(
      /measures only loss, eval\/knn_top1_waves/,
    );
    await expect(run('b', {}, { modalities: [wavesModality] })).rejects.toThrow(
      'the config is for waves, steps, but the plugins given are: waves',
    );
    const many: TrainOptions['openSource'] = async (_split, modality) =>
      modality === 'waves' ? waves() : steps({ bad: [1, 2, 3] });
    const none = { data: { steps: { max_bad_share: 0 } } };
    await expect(run('c', none, { openSource: many })).rejects.toThrow(
      /more than data\.steps\.max_bad_share allows .* bad-samples-steps\.jsonl/,
    );
  });
});
