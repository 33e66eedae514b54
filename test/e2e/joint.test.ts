/** Several modalities in one model, through the real command: images beside the example's time series. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readNpy } from '@d2v/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkpoints, metrics, outcome, runCli, startCli } from './support/cli.js';
import { imageFolder } from './support/images.js';

const UPDATES = 24;
const plugin = resolve(import.meta.dirname, '..', '..', 'examples', 'd2v-modality-timeseries');
const SETTINGS = [
  'model.embed_dim=32',
  'model.depth=2',
  'model.num_heads=2',
  'model.clone_batch=2',
  'model.average_top_k_layers=2',
  'model.cls_loss=0',
  'model.modalities.image.input_size=16',
  'model.modalities.image.decoder.decoder_dim=32',
  'model.modalities.image.decoder.decoder_groups=4',
  'model.modalities.timeseries.decoder.decoder_dim=32',
  'data.timeseries.limit=40',
  'data.image.valid_share=0.25',
  'eval.image.train_samples=20',
  'eval.timeseries.train_samples=40',
  'eval.timeseries.valid_samples=20',
  `optimization.max_update=${UPDATES}`,
  'checkpoint.save_interval_updates=3',
  'common.log_interval=4',
  'common.threads=1',
];

let folder: string;
let run: string;
let data: string;
const set = SETTINGS.flatMap((text) => ['--set', text]);
const withPlugin = (...args: string[]) => [...args, '--plugin', plugin];
const train = (path: string, ...more: string[]) => [
  ...withPlugin('train', '--modalities', 'image,timeseries', '--run', path, '--data', `image=${data}`),
  ...['--batch-size', '4', '--batch-size', 'timeseries=8', ...set, ...more],
];
const resume = (path: string) => withPlugin('train', '--run', path, '--resume', '--no-report');

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'd2v-joint-'));
  data = imageFolder(join(folder, 'images'));
  run = join(folder, 'run');
  const result = await runCli(train(run));
  expect(result.stderr).toBe('');
  expect(result.code).toBe(0);
  expect(result.stdout).toMatch(/parameters for image, timeseries/);
  expect(result.stdout).toMatch(
    /image: 3 classes[\s\S]*raw pixels[\s\S]*timeseries: 6 classes[\s\S]*raw values/,
  );
}, 180_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('a joint run', () => {
  it('leaves reports and metrics of each', () => {
    expect(readdirSync(run)).toEqual(
      expect.arrayContaining(['preview-image.png', 'report-image.json', 'report-timeseries.json']),
    );
    const all = Object.assign({}, ...metrics(run));
    for (const name of ['image', 'timeseries']) expect(all).toHaveProperty(`loss_${name}`);
    expect(readFileSync(join(run, 'config.yaml'), 'utf8')).toMatch(/^modalities: \[image, timeseries\]/);
  });

  it('ends with the same bits when it is killed and goes on', async () => {
    const broken = join(folder, 'broken');
    for (let attempt = 0; attempt < 3 && checkpoints(broken).at(-1) !== UPDATES; attempt++) {
      const begun = checkpoints(broken).length > 0;
      const { child, finished } = startCli(begun ? resume(broken) : train(broken, '--no-report'));
      await Promise.race([sleep(1200 + 600 * attempt), finished]);
      child.kill('SIGKILL');
      await finished;
    }
    if (checkpoints(broken).at(-1) !== UPDATES) {
      const begun = checkpoints(broken).length > 0;
      const last = await runCli(begun ? resume(broken) : train(broken, '--no-report'));
      expect(last).toMatchObject({ code: 0, stderr: '' });
    }
    expect(outcome(broken, UPDATES)).toEqual(outcome(run, UPDATES));
  }, 180_000);

  it('embeds both from one checkpoint, each file by what it is', async () => {
    const series = join(folder, 'series');
    expect((await runCli(withPlugin('waveforms', 'write', series, '--count', '6'))).code).toBe(0);
    const out = join(folder, 'features.jsonl');
    const image = join(data, 'vertical', '1.png');
    // Settings of one modality, and of each.
    const settings = ['--set', 'data.timeseries.batch_size=4', '--set', 'data.num_workers=0'];
    expect((await runCli(withPlugin('embed', run, image, series, '-o', out, ...settings))).stderr).toBe('');
    const rows = readFileSync(out, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(rows.map(({ modality }) => modality)).toEqual(['image', ...Array(6).fill('timeseries')]);
    expect(rows.every(({ embedding }) => embedding.length === 32)).toBe(true);
    const npy = join(folder, 'waveforms.npy');
    await runCli(withPlugin('embed', run, 'waveforms', '--split', 'valid', '-o', npy, '-q'));
    expect(readNpy(npy).shape).toEqual([1000, 32]);
  }, 60_000);

  it('is scored by modality', async () => {
    const all = await runCli(withPlugin('eval', 'knn', run, '--json'));
    expect(Object.keys(JSON.parse(all.stdout))).toEqual(['image', 'timeseries']);
    const one = await runCli(withPlugin('eval', 'knn', run, '--modality', 'image', '--data', data, '--json'));
    expect(JSON.parse(one.stdout)[0].knn.top1).toBeGreaterThanOrEqual(0);
  }, 60_000);

  it('finds out what a folder holds', async () => {
    const result = await runCli(['embed', run, data, '-o', join(folder, 'images.npy')]);
    expect(result.stdout).toContain('36 samples of shape [32]');
    const other = await runCli(['embed', run, data, '-o', join(folder, 'x.npy'), '--modality', 'text']);
    expect(other.stderr).toContain('this model has image, timeseries, not text');
  }, 30_000);
});

describe('errors are one line', () => {
  const fresh = () => ['--run', join(folder, 'none')];
  it.each([
    [['--modalities', 'image,image'], '--modalities names the modality "image" twice'],
    [['--modalities', 'image,smell'], 'no installed plugin provides the modality "smell"'],
    [['image', '--modalities', 'image,timeseries'], 'name the modalities once'],
    [
      ['--modalities', 'image,timeseries', '--data', 'digits'],
      'whose data is it? Write --data image=digits or',
    ],
    [['--modalities', 'image,timeseries', '--set', 'joint.ratios.text=2'], 'this run has no modality "text"'],
    [['--modalities', 'image,timeseries', '--set', 'data.batch_size=2'], 'each modality has its own'],
    [['--modalities', 'image,timeseries', '--preset', 'huge'], 'no preset "huge" for several modalities'],
  ])('%j', async (args, message) => {
    const result = await runCli(withPlugin('train', ...args, ...fresh()));
    expect(result.code).toBe(1);
    expect(result.stderr.trim().split('\n')).toHaveLength(1);
    expect(result.stderr).toContain(message);
  });
});
