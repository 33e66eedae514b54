/** Speech Commands from a server with a small copy of its archive. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type DatasetOptions, Philox, prepareDataset, verifyDataset } from '@d2v/core';
import { FaultServer } from '@d2v/core/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { audioDataSchema } from '../data-config.js';
import { archiveOf, PEOPLE, sound, speechCommandsFiles, WORDS } from './__fixtures__/corpora.js';
import type { AudioData } from './files.js';
import { openAudioData } from './index.js';
import { speechCommandsWith } from './speech-commands.js';

const archive = archiveOf(speechCommandsFiles());
const dataset = speechCommandsWith(archive, 100_000);

let root: string;
let cacheDir: string;
let server: FaultServer;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'd2v-commands-'));
  server = await FaultServer.start();
  server.serve('/speech_commands_v0.02.tar.gz', archive.content);
});
afterAll(async () => {
  await server.close();
  await rm(root, { recursive: true, force: true });
});
beforeEach(async () => {
  cacheDir = await mkdtemp(join(root, 'cache-'));
});

const given = (more: DatasetOptions = {}): DatasetOptions => ({
  cacheDir,
  mirror: server.url(''),
  acceptTerms: true,
  backoffScale: 0.01,
  ...more,
});
const open = (split: 'train' | 'valid' | 'all') => {
  const data = {
    ...audioDataSchema.parse({ min_sample_size: 1000, max_sample_size: 16_000, normalize: false }),
    path: null,
    dataset: 'speech-commands',
    dataset_options: {},
  };
  return openAudioData(data as unknown as AudioData, { split, cacheDir, log: () => undefined });
};

describe('speech-commands', () => {
  it('is divided by its lists, with words as classes and without noises', async () => {
    server.fault('/speech_commands_v0.02.tar.gz', { kind: 'status', status: 503, times: 2 });
    const ready = await prepareDataset(dataset, given());
    expect((await verifyDataset(dataset, given())).problems).toEqual([]);
    const [train, valid, all] = await Promise.all([open('train'), open('valid'), open('all')]);
    expect([train, valid, all].map(({ length }) => length)).toEqual([
      WORDS.length * (PEOPLE.length - 2),
      WORDS.length,
      WORDS.length * PEOPLE.length,
    ]);
    expect(train.classes).toEqual([...WORDS].sort());
    for (const source of [train, valid, all]) {
      for (let i = 0; i < source.length; i++) {
        const word = source.classes![source.label!(i)]!;
        expect(source.describe(i)).toMatch(new RegExp(`: ${word}/[0-9a-f]{8}_nohash_0 "${word}"$`));
      }
    }
    expect(valid.describe(0)).toContain(PEOPLE[4]!);
    const { tensors } = await train.get(0, new Philox(1), 'eval');
    const wanted = sound(`${WORDS[0]} ${PEOPLE[0]}`, 0.7);
    const found = tensors.source!.data;
    expect(found.length).toBe(Math.min(16_000, wanted.length));
    expect(Math.abs(found[100]! - wanted[100]!)).toBeLessThan(1e-4);
    const text = (name: string) => readFile(join(ready.folder, name), 'utf8');
    expect((await text('valid.lbl')).trim().split('\n')).toEqual(WORDS);
    expect((await text('valid.tsv')).split('\n')[1]).toMatch(/^words-\d{5}\.tar:\d+:\d+\t\d+$/);
    expect((await text('classes.txt')).trim().split('\n')).toHaveLength(35);
  });

  it('is the same after an interruption, and from a folder', async () => {
    const whole = await prepareDataset(dataset, given());
    cacheDir = await mkdtemp(join(root, 'cache-'));
    const controller = new AbortController();
    let seen = 0;
    const on: DatasetOptions['on'] = (event) => {
      if (event.type === 'progress' && event.phase === 'prepare' && ++seen === 16) controller.abort();
    };
    await expect(prepareDataset(dataset, given({ signal: controller.signal, on }))).rejects.toThrow();
    expect((await prepareDataset(dataset, given())).steps).toEqual(whole.steps);
    const from = await mkdtemp(join(root, 'tree-'));
    for (const { path, content, type } of speechCommandsFiles()) {
      if (type) continue;
      await mkdir(dirname(join(from, path)), { recursive: true });
      await writeFile(join(from, path), content!);
    }
    cacheDir = await mkdtemp(join(root, 'cache-'));
    await prepareDataset(dataset, given({ from, mirror: undefined, offline: true }));
    const source = await open('valid');
    expect(source.length).toBe(WORDS.length);
    expect(source.describe(0)).toContain(from);
  });

  it('without its lists is refused', async () => {
    const other = archiveOf(speechCommandsFiles().filter(({ path }) => !path.includes('testing')));
    server.serve('/speech_commands_v0.02.tar.gz', other.content);
    await expect(prepareDataset(speechCommandsWith(other), given())).rejects.toThrow(
      /speech_commands_v0.02.tar.gz: it has no testing_list.txt/,
    );
    server.serve('/speech_commands_v0.02.tar.gz', archive.content);
  });
});
