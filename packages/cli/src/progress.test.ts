import type { TrainerEvent, UpdateEvent } from '@d2v/core';
import { describe, expect, it } from 'vitest';
import { logLine, ProgressView, progressLine } from './progress.js';

const update: UpdateEvent = {
  type: 'update',
  update: 250,
  modality: 'smell',
  maxUpdate: 1000,
  progress: 0.25,
  loss: 0.51234,
  lr: 1e-3,
  samplesPerSecond: 812.3,
  etaSeconds: 75,
};

function record(isTTY: boolean, quiet = false) {
  let text = '';
  const view = new ProgressView({ isTTY, columns: 100, write: (part) => (text += part) }, quiet);
  return { on: (event: TrainerEvent) => view.on(event), read: () => text };
}

describe('the line of a terminal', () => {
  it('has a bar, the numbers and the time left', () => {
    const line = progressLine(update, 120);
    expect(line).toContain('━━━━━━');
    expect(line).toMatch(/25 % {2}update 250\/1000 {2}loss 0\.5123 {2}lr 0\.001 {2}812\/s {2}1:15 left$/);
  });

  it('never is longer than the terminal is wide', () => {
    for (let columns = 10; columns < 130; columns++) {
      for (const progress of [0.25, null]) {
        // biome-ignore lint/suspicious/noControlCharactersInRegex: colour codes have no width
        const plain = progressLine({ ...update, progress }, columns).replace(/\u001b\[[0-9;]*m/g, '');
        expect(plain.length).toBeLessThan(columns);
      }
    }
  });
});

describe('ProgressView', () => {
  it('redraws one line on a terminal and scrolls warnings above it', () => {
    const { on, read } = record(true);
    on(update);
    on({ type: 'log', update: 250, metrics: { loss: 1 } });
    on({ type: 'warning', message: 'careful' });
    on({ type: 'eval', update: 250, metrics: { update: 250, 'eval/knn_top1': 0.5 } });
    on({ type: 'stop', reason: 'max_update', message: 'done', update: 250 });
    const text = read();
    expect(text).toContain('careful\n\r');
    expect(text).toContain('update 250  eval/knn_top1 0.5\n');
    expect(text.endsWith('\r\u001b[K')).toBe(true);
    expect(text.split('\n')).toHaveLength(3);
  });

  it('writes plain lines elsewhere', () => {
    const { on, read } = record(false);
    on({
      type: 'start',
      runDir: 'runs/x',
      resumedFrom: 100,
      maxUpdate: 1000,
      parameters: 1_500_000,
      modalities: ['smell'],
      effectiveBatch: ['32 samples x 4 masks'],
      memory: 'needs 1 GB of 20 GB',
      samplesPerEpoch: 1000,
    });
    on(update);
    on({
      type: 'log',
      update: 250,
      metrics: { loss: 0.5, samples_per_second: 812, wait_share: 0.2, zebra: 1 },
    });
    on({ type: 'checkpoint', update: 250, path: 'checkpoints/250', best: true, seconds: 1 });
    const text = read();
    expect(text).toContain('going on from update 100');
    expect(text).toContain('1.5 M parameters; 32 samples x 4 masks\n');
    expect(text).toContain('update 250  loss 0.5  812 samples/s  20 % waiting for data\n');
    expect(text).toContain('saved checkpoints/250 (best)\n');
    expect(text).not.toContain('\r');
    expect(text).not.toContain('zebra');
  });

  it('is silent but for warnings when quiet', () => {
    const { on, read } = record(true, true);
    on(update);
    on({ type: 'eval', update: 1, metrics: {} });
    on({ type: 'warning', message: 'careful' });
    expect(read()).toMatch(/careful\n$/);
    expect(read().split('\n')).toHaveLength(2);
  });
});

it('shows the modalities of a run of several side by side', () => {
  const { on, read } = record(true);
  const start = { runDir: 'runs/x', resumedFrom: null, maxUpdate: 1000, parameters: 5, memory: '' } as const;
  const batches = { modalities: ['smell', 'taste'], effectiveBatch: ['32 noses', '8 tongues'] };
  on({ type: 'start', ...start, ...batches, samplesPerEpoch: 1000 });
  on({ ...update, modality: 'taste', loss: 0.25 });
  expect(read()).toContain('5 parameters for smell, taste\nsmell: 32 noses\ntaste: 8 tongues\n');
  expect(read()).toContain('loss taste 0.25');
  const losses = new Map([
    ['taste', 0.25],
    ['smell', 0.5],
  ]);
  expect(progressLine({ ...update, progress: null }, 120, losses)).toContain(
    'loss taste 0.25, smell 0.5  lr',
  );
  const metrics = {
    epoch_smell: 1,
    loss: 0.4,
    loss_smell: 0.5,
    loss_cls_smell: 0.1,
    epoch_taste: 2,
    loss_taste: 0.25,
  };
  expect(logLine(3, metrics)).toBe('update 3  loss 0.4  loss_smell 0.5  loss_taste 0.25');
});

it('logLine shows what there is', () => {
  expect(logLine(3, { grad_norm: 1.5, loss: 2 })).toBe('update 3  loss 2  grad_norm 1.5');
});
