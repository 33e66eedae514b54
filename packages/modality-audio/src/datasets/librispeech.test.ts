/** LibriSpeech from a server with small copies of its archives. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import {
  type DatasetEvent,
  type DatasetOptions,
  datasetStats,
  openDataset,
  Philox,
  prepareDataset,
  verifyDataset,
} from '@d2v/core';
import { FaultServer, type TarFile } from '@d2v/core/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { audioDataSchema } from '../data-config.js';
import { encodeFlac } from '../decode/__fixtures__/encode-flac.js';
import {
  archiveOf,
  librispeechArchives,
  librispeechFiles,
  RATE,
  SPEAKERS,
  sound,
  spoken,
  utterances,
} from './__fixtures__/corpora.js';
import { type AudioData, openPath } from './files.js';
import { openAudioData } from './index.js';
import { librispeechWith } from './librispeech.js';
import { readRows } from './sounds/table.js';

/** Two chapters or so. */
const SHARD = 100_000;
const archives = librispeechArchives();
const dataset = librispeechWith(archives, SHARD);

let root: string;
let cacheDir: string;
let server: FaultServer;
let said: string[];
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'd2v-librispeech-'));
  server = await FaultServer.start();
  for (const [split, { content }] of Object.entries(archives)) server.serve(`/${split}.tar.gz`, content);
});
afterAll(async () => {
  await server.close();
  await rm(root, { recursive: true, force: true });
});
beforeEach(async () => {
  cacheDir = await mkdtemp(join(root, 'cache-'));
  said = [];
});
afterEach(() => {
  for (const [split, { content }] of Object.entries(archives)) {
    server.heal(`/${split}.tar.gz`);
    server.serve(`/${split}.tar.gz`, content);
  }
});

const given = (more: DatasetOptions = {}): DatasetOptions => ({
  cacheDir,
  mirror: server.url(''),
  acceptTerms: true,
  backoffScale: 0.01,
  threads: 1,
  options: { splits: 'all' },
  on: (event) => {
    if (event.type !== 'progress') said.push(event.message);
  },
  ...more,
});
const data = (more: Partial<AudioData> = {}) =>
  ({
    ...audioDataSchema.parse({ min_sample_size: 1000, max_sample_size: 16_000, normalize: false }),
    path: null,
    dataset: 'librispeech',
    dataset_options: {},
    valid_path: null,
    valid_share: 0.4,
    ...more,
  }) as AudioData;
const open = (split: 'train' | 'valid' | 'all', more: Partial<AudioData> = {}) =>
  openAudioData(data(more), { split, cacheDir, log: (line) => void said.push(line) });
const idsOf = async (split: 'train' | 'valid' | 'all', more: Partial<AudioData> = {}) => {
  const source = await open(split, more);
  return Array.from(
    { length: source.length },
    (_, i) => /(\d+-\d+-\d+)/.exec(source.describe(i))![1]!,
  ).sort();
};
/** A dataset with one archive of other files. */
const dev = (files: readonly TarFile[]) => {
  const archive = archiveOf(files);
  server.serve('/dev-clean.tar.gz', archive.content);
  return librispeechWith({ 'dev-clean': { ...archive, description: 'for tests' } }, SHARD);
};
/** Digests of all prepared files. */
const digests = (ready: { steps: readonly { files: readonly { name: string; sha256: string }[] }[] }) =>
  Object.fromEntries(ready.steps.flatMap(({ files }) => files.map(({ name, sha256 }) => [name, sha256])));

describe('librispeech', () => {
  it('becomes shards with tables, manifests and a vocabulary', async () => {
    server.fault('/train-clean-100.tar.gz', { kind: 'cut', at: 5000, times: 1 });
    const shown: DatasetEvent[] = [];
    const on = (event: DatasetEvent) => void shown.push(event);
    const ready = await prepareDataset(dataset, given({ on }));
    const { length } = archives['train-clean-100']!.content;
    const progress = shown.filter((event) => event.type === 'progress' && event.item === 'train-clean-100');
    expect(progress.length).toBeGreaterThan(5);
    for (const event of progress)
      expect(event).toMatchObject({ phase: 'prepare', total: length, unit: 'bytes' });
    expect(progress.at(-1)).toMatchObject({ done: length });
    expect((await verifyDataset(dataset, given())).problems).toEqual([]);
    const names = ready.steps.flatMap(({ files }) => files.map(({ name }) => name));
    expect(names.filter((name) => /^train.*\.tar$/.test(name)).length).toBeGreaterThan(2);
    const text = (name: string) => readFile(join(ready.folder, name), 'utf8');
    const tables = names.filter((name) => /^dev-clean-.*\.jsonl$/.test(name));
    const rows = tables.flatMap((name) => readRows(join(ready.folder, name)));
    expect(rows.map(({ id }) => id)).toEqual([...utterances('dev-clean')]);
    const [row] = rows;
    expect(row).toMatchObject({
      speaker: '84',
      rate: RATE,
      samples: sound(row!.id).length,
      text: spoken(row!.id),
    });
    const shard = await readFile(join(ready.folder, row!.file));
    const [offset, bytes] = row!.part!;
    expect(shard.subarray(offset, offset + bytes)).toEqual(encodeFlac(sound(row!.id), RATE));
    // What fairseq reads.
    const [head, first] = (await text('dev-clean.tsv')).split('\n');
    expect([head, first]).toEqual(['.', `${row!.file}:${offset}:${bytes}\t${row!.samples}`]);
    expect((await text('dev-clean.wrd')).split('\n')[0]).toBe(row!.text);
    expect((await text('dev-clean.spk')).split('\n')[0]).toBe('84');
    expect((await text('dev-clean.ltr')).split('\n')[0]).toBe(
      `${row!
        .text!.split(' ')
        .map((word) => [...word].join(' '))
        .join(' | ')} |`,
    );
    expect((await text('dict.ltr.txt')).split('\n').slice(0, 3)).toEqual(['| 1', 'E 1', 'T 1']);
    expect((await text('dev-clean.speakers.tsv')).split('\n').slice(1, 3)).toEqual([
      '84\tF\t8.02\tReader 84',
      '174\tM\t8.02\tReader 174',
    ]);
    const stats = await datasetStats('librispeech', cacheDir);
    expect(stats!.prepared[0]!.counts).toMatchObject({ sounds: 48, damaged: 0, speakers: 6 });
    const again = await prepareDataset(dataset, given({ offline: true }));
    expect(digests(again)).toEqual(digests(ready));
  });

  it('is learned from train-*, judged on dev-*, and test-* is neither', async () => {
    await prepareDataset(dataset, given());
    const splits = Object.keys(SPEAKERS);
    expect(await idsOf('train')).toEqual(utterances('train-clean-100').sort());
    expect(await idsOf('valid')).toEqual(utterances('dev-clean').sort());
    const all = { dataset_options: { splits } };
    expect(await idsOf('train', all)).toEqual(utterances('train-clean-100').sort());
    expect(await idsOf('all', all)).toEqual(splits.flatMap(utterances).sort());
    const source = await open('train');
    const shown = source.describe(0);
    expect(shown).toMatch(/train-clean-100-00000\.tar: 26-121123-0000 "[A-Z' ]+"$/);
    const { tensors } = await source.get(0, new Philox(1), 'eval');
    const wanted = sound('26-121123-0000');
    const found = tensors.source!.data;
    expect(source.sizes!()[0]).toBe(wanted.length / RATE);
    expect(found.length).toBe(wanted.length);
    for (const [i, value] of wanted.entries()) expect(Math.abs(found[i]! - value)).toBeLessThan(5e-5);
  });

  it('holds out speakers where a part is missing', async () => {
    await prepareDataset(dataset, given({ options: { splits: 'train-clean-100' } }));
    const parts = await Promise.all([idsOf('train'), idsOf('valid')]);
    expect(parts.flat().sort()).toEqual(utterances('train-clean-100').sort());
    const speakers = parts.map((ids) => new Set(ids.map((id) => id.split('-')[0])));
    expect([...speakers[0]!].filter((speaker) => speakers[1]!.has(speaker))).toEqual([]);
    await expect(open('train', { dataset_options: { splits: ['dev-clean'] } })).rejects.toThrow(
      /librispeech is not prepared.*d2v data prepare librispeech/,
    );
  });

  it('prepared with interruptions is the same, byte for byte', async () => {
    const whole = await prepareDataset(dataset, given());
    cacheDir = await mkdtemp(join(root, 'cache-'));
    for (let stop = 1; ; stop += 7) {
      const controller = new AbortController();
      let seen = 0;
      const on: DatasetOptions['on'] = (event) => {
        if (event.type === 'progress' && event.phase === 'prepare' && ++seen === stop) controller.abort();
      };
      const outcome = await prepareDataset(dataset, given({ signal: controller.signal, on })).catch(
        () => null,
      );
      if (!outcome) continue;
      expect(stop).toBeGreaterThan(8);
      expect(digests(outcome)).toEqual(digests(whole));
      break;
    }
    // A shard that was lost is made again, the others stay.
    const [, lost] = (await readdir(whole.folder)).filter((name) => /^train.*\.tar$/.test(name));
    const { folder } = await openDataset(dataset, { cacheDir });
    await rm(join(folder, lost!));
    expect((await verifyDataset(dataset, given())).problems.map(({ file }) => file)).toEqual([
      join(folder, lost!),
    ]);
    expect(digests(await prepareDataset(dataset, given()))).toEqual(digests(whole));
    expect((await verifyDataset(dataset, given())).problems).toEqual([]);
  });

  it('lists damaged files and goes on', async () => {
    const files = librispeechFiles('dev-clean');
    const flacs = files.filter(({ path }) => path.endsWith('.flac'));
    flacs[0]!.content = (flacs[0]!.content as Buffer).subarray(0, 9000);
    flacs[1]!.content = 'no sound';
    flacs[2]!.content = '';
    const ready = await prepareDataset(dev(files), given());
    const names = flacs.slice(0, 3).map(({ path }) => path.split('/').at(-1)!.replace('.flac', ''));
    const listed = await readFile(join(ready.folder, 'dev-clean-00000.damaged.tsv'), 'utf8');
    expect(listed.trim().split('\n').sort()).toEqual(
      [
        `${names[0]}\ttruncated: its last frame is not there`,
        `${names[1]}\tnot an audio file (or of another kind than WAV, FLAC, MP3, Ogg Vorbis or Opus)`,
        `${names[2]}\tnot an audio file (or of another kind than WAV, FLAC, MP3, Ogg Vorbis or Opus)`,
      ].sort(),
    );
    expect(said).toContain(
      'dev-clean-00000: left out 3 damaged files, listed in dev-clean-00000.damaged.tsv',
    );
    expect(ready.steps[0]!.counts).toMatchObject({ damaged: 3 });
  });

  it.each([
    ['leads out of its folder', 'LibriSpeech/dev-clean/84/../../../../evil.flac'],
    ['has an absolute path', '/LibriSpeech/dev-clean/84/1/84-1-0000.flac'],
    ['belongs to a chapter that had ended before', 'LibriSpeech/dev-clean/84/121123/84-121123-0009.flac'],
  ])('refuses an archive whose entry %s', async (reason, path) => {
    const hostile = dev([...librispeechFiles('dev-clean'), { path, content: encodeFlac(sound('x')) }]);
    await expect(prepareDataset(hostile, given())).rejects.toThrow(reason);
    await expect(prepareDataset(hostile, given())).rejects.toThrow(path);
  });

  it('refuses an archive with links, and one of something else', async () => {
    const link = { path: 'LibriSpeech/dev-clean/x', type: 'SymbolicLink' as const, linkpath: '/etc/passwd' };
    await expect(prepareDataset(dev([link]), given())).rejects.toThrow(/dev-clean\/x" is a link to/);
    const other = dev([{ path: 'a.txt', content: 'x' }]);
    await expect(prepareDataset(other, given())).rejects.toThrow(/source of dev-clean holds no sounds/);
  });

  it('that is unpacked already is used where it lies', async () => {
    const from = await mkdtemp(join(root, 'tree-'));
    for (const { path, content, type } of librispeechFiles('dev-clean')) {
      if (type) continue;
      await mkdir(dirname(join(from, path)), { recursive: true });
      await writeFile(join(from, path), content!);
    }
    const options = { splits: 'dev-clean' };
    const ready = await prepareDataset(dataset, given({ from, options, mirror: undefined, offline: true }));
    expect((await readdir(ready.folder)).filter((name) => name.endsWith('.tar'))).toEqual([]);
    const source = await open('all');
    expect(source.length).toBe(utterances('dev-clean').length);
    expect(source.describe(0)).toContain(join(from, 'LibriSpeech', 'dev-clean'));
    const manifest = await openPath({ ...data(), path: join(ready.folder, 'dev-clean.tsv') } as never, {
      split: 'all',
      cacheDir,
      log: () => undefined,
    });
    expect(manifest.describe(3)).toBe(source.describe(3));
  });

  it('gives manifests that can be trained on by themselves', async () => {
    const ready = await prepareDataset(dataset, given({ options: { splits: 'dev-clean' } }));
    const source = await openPath({ ...data(), path: join(ready.folder, 'dev-clean.tsv') } as never, {
      split: 'all',
      cacheDir,
      log: () => undefined,
    });
    const wanted = await open('all');
    const read = async (from: typeof source) =>
      (await from.get(5, new Philox(1), 'eval')).tensors.source!.data;
    expect(source.describe(5)).toMatch(/dev-clean-00000.tar:\d+:\d+ "[A-Z' ]+"/);
    expect(await read(source)).toEqual(await read(wanted));
  });
});
