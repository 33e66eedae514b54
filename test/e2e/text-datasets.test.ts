/** Datasets of text with the real command: from a server's archives to a trained model with one command each. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Philox } from '@d2v/core';
import { makeZip } from '@d2v/core/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  archiveFile,
  documentOf,
  serveHub,
  webTextArchive,
} from '../../packages/modality-text/src/datasets/openwebtext/__fixtures__/web-text.js';
import { expectUpdates, metrics, runCleanly, runCli, startCli, trainModality } from './support/cli.js';
import { type Copies, preparedDigests, serveCopies } from './support/copies.js';

const PLUGIN = fileURLToPath(new URL('support/small-text.mjs', import.meta.url));
const VALID_SHARE = 0.2;

let copies: Copies;
let folder: string;
let server: Copies['server'];
beforeAll(async () => {
  const archive = await webTextArchive(20);
  const sst2 = sstArchive();
  const files = { '/openwebtext.tar.xz': archive, '/SST-2.zip': sst2 };
  copies = await serveCopies('text-datasets', files, {
    archive: archiveFile(archive),
    glue: { sst2: [{ ...archiveFile(sst2), name: 'SST-2.zip' }] },
  });
  ({ folder, server } = copies);
  serveHub(server, 3, 80);
});
afterAll(() => copies.close());

/** Reviews whose words tell their class. */
function sstArchive(): Buffer {
  const words = [
    ['dull', 'weak', 'tired', 'empty'],
    ['bright', 'moving', 'funny', 'fresh'],
  ];
  const rng = new Philox(3);
  const review = (label: number) =>
    Array.from({ length: 4 + rng.int(8) }, () => words[label]![rng.int(4)]!).join(' ');
  const rows = (count: number) =>
    Array.from({ length: count }, (_, i) => `${review(i % 2)} \t${i % 2}\n`).join('');
  const content = (count: number) => `sentence\tlabel\n${rows(count)}`;
  return makeZip([
    { name: 'SST-2/train.tsv', content: content(60), deflate: true },
    { name: 'SST-2/dev.tsv', content: content(20), deflate: true },
    { name: 'SST-2/test.tsv', content: `index\tsentence\n0\t${review(0)}\n`, deflate: true },
  ]);
}

const d2v = (...args: string[]) => runCleanly(args, { cwd: folder });
const data = (...args: string[]) => ['data', ...args, '--plugin', PLUGIN];

const SETTINGS = [
  'model.depth=1',
  'model.average_top_k_layers=1',
  'model.modalities.text.decoder.decoder_dim=32',
  'model.modalities.text.max_source_positions=32',
  'data.batch_length=null',
  'data.num_workers=1',
  'optimization.max_update=20',
  'lr_scheduler.warmup_updates=2',
  'common.log_interval=5',
];

const train = (name: string, run: string, ...more: string[]) =>
  d2v(...trainModality('text', run, name, SETTINGS), '--plugin', PLUGIN, ...more);
const webOptions = (options: string) => [
  '--set',
  `data.dataset_options={valid_share: ${VALID_SHARE}, ${options}}`,
];

describe('openwebtext', () => {
  it('is downloaded, prepared and learned from with one command', { timeout: 400_000 }, async () => {
    server.fault('/openwebtext.tar.xz', { kind: 'cut', at: 20_000, times: 2 });
    server.fault('/openwebtext.tar.xz', { kind: 'status', status: 503, retryAfter: 0, times: 1 });
    const refused = await train(
      'openwebtext',
      'none',
      '--mirror',
      server.url(''),
      ...webOptions('source: zenodo'),
    );
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/openwebtext has terms of use .*--yes/);
    const mirror = ['--mirror', server.url(''), '--yes'];
    const result = await train('openwebtext', 'web', ...mirror, ...webOptions('source: zenodo'));
    expect(result.code, result.stderr).toBe(0);
    expect(result.stdout + result.stderr).toMatch(/encoded 503 documents, .* MB\/s, .* documents\/s/);
    expectUpdates(join(folder, 'web'), 20);
    // Again, without anything to be had from the network; the options follow from what is there.
    const again = await train('openwebtext', 'web-2', '--offline');
    expect(again.code, again.stderr).toBe(0);
    expect(metrics(join(folder, 'web-2'))).toEqual(metrics(join(folder, 'web')));
  });

  it('is verified and counted', async () => {
    const verified = await d2v(...data('verify', 'openwebtext'));
    expect(verified.code, verified.stderr).toBe(0);
    expect(verified.stdout).toContain('all as they should be');
    const stats = await d2v(...data('stats', 'openwebtext', '--json'));
    expect(JSON.parse(stats.stdout).prepared[0].counts).toMatchObject({
      documents: 503,
      binary_documents: 1,
    });
  });

  it('is learned from in parquet, scored on labelled text', async () => {
    const hub = webOptions('source: hub, parts: 2');
    const scored = ['--eval-data', 'glue-sst2'];
    const result = await train('openwebtext', 'hub', '--mirror', server.url(''), '--yes', ...hub, ...scored);
    expect(result.code, result.stderr).toBe(0);
    expectUpdates(join(folder, 'hub'), 20);
    expect(result.stdout).toMatch(/untrained network .*\nbag of BPE tokens .*\npretrained network /);
  });

  it('is prepared to the same bytes whenever it is killed', { timeout: 240_000 }, async () => {
    const expected = preparedDigests(join(folder, 'cache'), 'openwebtext');
    const rng = new Philox(11);
    const cache = join(folder, 'killed');
    const args = data(
      'prepare',
      'openwebtext',
      '--mirror',
      server.url(''),
      '--yes',
      '--valid-share',
      String(VALID_SHARE),
    );
    for (let i = 0; i < 6; i++) {
      const { child, finished } = startCli(args, { cwd: folder, env: { ...process.env, D2V_DATA: cache } });
      await sleep(300 + rng.int(1700));
      child.kill('SIGKILL');
      await finished;
    }
    const last = await runCli(args, { cwd: folder, env: { ...process.env, D2V_DATA: cache } });
    expect(last.code, last.stderr).toBe(0);
    const found = preparedDigests(cache, 'openwebtext');
    const own = Object.entries(expected).filter(([name]) => !name.includes('hub'));
    expect(found).toEqual(Object.fromEntries(own));
    expect(Object.keys(found).length).toBeGreaterThan(5);
  });

  it('embeds documents with the tokenizer of its shards', async () => {
    writeFileSync(join(folder, 'page.txt'), documentOf(1));
    const result = await d2v('embed', 'web', 'page.txt', '-o', 'page.npy', '--plugin', PLUGIN);
    expect(result.code, result.stderr).toBe(0);
  });
});

describe('glue', () => {
  it('is downloaded, prepared and learned from with one command, and scored by its classes', async () => {
    const result = await train(
      'glue-sst2',
      'sst2',
      '--mirror',
      server.url(''),
      '--yes',
      '--set',
      'data.vocab_size=300',
    );
    expect(result.code, result.stderr).toBe(0);
    expectUpdates(join(folder, 'sst2'), 20);
    expect(result.stdout).toMatch(/kNN/);
  });
});
