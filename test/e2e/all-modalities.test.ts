/** Images, sound and text in one model, through the real command. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { metrics, runCli } from './support/cli.js';
import { DATA } from './support/data.js';

const NAMES = ['image', 'audio', 'text'];
const SETTINGS = [
  'model.embed_dim=32',
  'model.depth=2',
  'model.num_heads=2',
  'model.clone_batch=2',
  'model.average_top_k_layers=2',
  'model.modalities.audio.conv_pos_groups=4',
  ...NAMES.map((name) => `model.modalities.${name}.decoder.decoder_dim=32`),
  'optimization.max_update=80',
  'optimization.lr=0.004',
  'lr_scheduler.warmup_updates=5',
  'common.log_interval=10',
  'common.threads=1',
];

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'd2v-all-'));
  for (const name of NAMES) DATA[name]!(join(folder, name));
  const data = NAMES.flatMap((name) => ['--data', `${name}=${name}`]);
  const set = SETTINGS.flatMap((text) => ['--set', text]);
  const result = await d2v('train', '--modalities', NAMES.join(','), ...data, ...set, '--run', 'run');
  expect(result.code, result.stderr).toBe(0);
  // Nothing of so few files is held out to score features with, which is no reason to fail.
  expect(result.stderr).toMatch(/^warning: no report of audio: .* none falls into the valid part/m);
}, 180_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const d2v = (...args: string[]) =>
  runCli(args, { cwd: folder, env: { ...process.env, D2V_DATA: join(folder, 'cache') } });

it.each(NAMES)('the loss of %s falls, and its features keep their spread', (name) => {
  const rows = metrics(join(folder, 'run')).filter((row) => `loss_${name}` in row);
  const [first, last] = [rows[0]!, rows.at(-1)!];
  expect(last[`loss_${name}`]).toBeLessThan(0.9 * first[`loss_${name}`]!);
  expect(last[`target_var_${name}`]).toBeGreaterThan(0.1);
});

it('one checkpoint embeds all, each file by what it is', async () => {
  const files = [join('image', 'vertical', '1.png'), join('audio', '1.wav'), 'x.txt'];
  writeFileSync(join(folder, 'x.txt'), 'the river and the market\n');
  const result = await d2v('embed', 'run', ...files, '-o', 'all.jsonl');
  expect(result.code, result.stderr).toBe(0);
  const rows = readFileSync(join(folder, 'all.jsonl'), 'utf8').trim().split('\n');
  const found = rows.map((row) => JSON.parse(row) as { modality: string; embedding: number[] });
  expect([...new Set(found.map(({ modality }) => modality))]).toEqual(NAMES);
  expect(found.every(({ embedding }) => embedding.length === 32)).toBe(true);
});
