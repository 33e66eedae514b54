import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { outcome, runCli, trainArguments } from './support/cli.js';
import { imageFolder } from './support/images.js';

let folder: string;
let data: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'd2v-damaged-'));
  data = imageFolder(join(folder, 'images'));
  writeFileSync(join(data, 'vertical', '3.png'), '');
  truncateSync(join(data, 'diagonal', '5.png'), 60);
  writeFileSync(join(data, 'horizontal', '7.png'), 'this is no picture');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const settings = (share: number, workers: number) => [
  'optimization.max_update=20',
  'data.valid_share=0',
  `data.max_bad_share=${share}`,
  `data.num_workers=${workers}`,
];

it('damaged images are skipped, counted and listed, the same for any number of threads', async () => {
  for (const workers of [0, 2]) {
    const result = await runCli(trainArguments(join(folder, `run-${workers}`), data, settings(0.2, workers)));
    expect(result.code).toBe(0);
  }
  const run = join(folder, 'run-0');
  expect(outcome(run, 20)).toEqual(outcome(join(folder, 'run-2'), 20));
  const list = readFileSync(join(run, 'bad-samples.jsonl'), 'utf8').trim().split('\n');
  const files = list.map((line) => JSON.parse(line).file);
  expect(files.map((file) => file.replaceAll('\\', '/')).sort()).toEqual([
    'diagonal/5.png',
    'horizontal/7.png',
    'vertical/3.png',
  ]);
  expect(outcome(run, 20).metrics.at(-1)!.bad_samples).toBe(3);
}, 120_000);

it('too many damaged images stop the run with one line', async () => {
  const result = await runCli(trainArguments(join(folder, 'run-many'), data, settings(0, 1)));
  expect(result.code).toBe(1);
  expect(result.stderr).toMatch(
    /of 36 samples are damaged \(.* %\), more than data\.max_bad_share allows \(0 %\).*--set data\.max_bad_share=/,
  );
  expect(result.stderr.trim().split('\n')).toHaveLength(1);
}, 60_000);
