import {
  mkdir,
  mkdtemp,
  open as openFile,
  readdir,
  readFile,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { BadSampleError, type DataSource, Philox } from '@d2v/core';
import { makeTar } from '@d2v/core/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { audioDataSchema } from '../data-config.js';
import { wav } from '../decode/__fixtures__/tone.js';
import { type AudioData, openNamed, openPath } from './files.js';
import { openAudioData } from './index.js';
import { instrumentOf } from './instruments.js';
import { parseTexts } from './prompts.js';
import { encodeWav } from './wav-writer.js';

const RATE = 16_000;
let base: string;
let root: string;
let cacheDir: string;
let count = 0;
let logged: string[];

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'd2v-audio-files-'));
});
afterAll(() => rm(base, { recursive: true, force: true }));
beforeEach(async () => {
  root = join(base, String(count++));
  cacheDir = join(root, '..', `cache-${count}`);
  logged = [];
  await mkdir(root);
});

const noise = (length: number, seed = 1) => {
  const rng = new Philox(seed);
  return Float32Array.from({ length }, () => 0.1 * rng.normal());
};

async function put(name: string, samples: Float32Array, rate = RATE): Promise<string> {
  const path = join(root, name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, encodeWav(samples, rate));
  return path;
}

const settings = (more: Partial<AudioData> = {}) =>
  ({
    ...audioDataSchema.parse({ min_sample_size: 1000, max_sample_size: 16_000 }),
    path: root,
    valid_path: null,
    valid_share: 0.2,
    ...more,
  }) as AudioData & { path: string };
const options = (split: 'train' | 'valid' | 'all' = 'all') => ({
  split,
  cacheDir,
  log: (line: string) => void logged.push(line),
});
const open = (split: 'train' | 'valid' | 'all' = 'all', more: Partial<AudioData> = {}) =>
  openPath(settings(more), options(split));
const get = (source: DataSource, index = 0, mode: 'train' | 'eval' = 'eval', seed = 1) =>
  source.get(index, new Philox(seed), mode);
const reason = (source: DataSource, index = 0) =>
  get(source, index).then(
    () => 'accepted',
    (error) => (error instanceof BadSampleError ? error.reason : error),
  );

const manifest = (name: string, lines: string[]) => writeFile(join(root, name), `${lines.join('\n')}\n`);

describe('folders', () => {
  it('have classes, lengths in seconds, and clips of mean 0 and variance 1', async () => {
    await put('dog/a.wav', noise(8000));
    await put('cat/b.wav', noise(12_000, 2), 8000);
    const source = await open();
    expect(source.classes).toEqual(['cat', 'dog']);
    expect([...source.sizes!()]).toEqual([1, 0.5]);
    const { tensors, label } = await get(source);
    expect(label).toBe(0);
    const { shape } = tensors.source!;
    const data = Array.from(tensors.source!.data);
    expect(shape).toEqual([16_000]);
    const mean = data.reduce((sum, v) => sum + v, 0) / data.length;
    expect(mean).toBeCloseTo(0, 4);
    expect(data.reduce((sum, v) => sum + v * v, 0) / data.length).toBeCloseTo(1, 2);
  });

  it('leave out files that are too short, and say so', async () => {
    await put('a.wav', noise(8000));
    await put('b.wav', noise(999));
    expect((await open()).length).toBe(1);
    expect(logged.at(-1)).toMatch(/left out 1 files shorter than 0.06 s \(data.min_sample_size: 1000\)/);
    await expect(open('all', { min_sample_size: 9000 })).rejects.toThrow(/all 2 audio files.*lower it/);
  });

  it('are looked through once: lengths are kept until a file changes', async () => {
    const path = await put('a.wav', noise(8000));
    await put('b.wav', noise(8000));
    await open();
    const [folder] = await readdir(join(cacheDir, 'audio'));
    expect(folder).toMatch(/^lengths-/);
    await writeFile(path, Buffer.alloc(encodeWav(noise(8000), RATE).length));
    const { mtime } = await stat(path);
    expect([...(await open()).sizes!()]).toEqual([0, 0.5]);
    await utimes(path, mtime, mtime);
    await put('a.wav', noise(16_000));
    expect([...(await open()).sizes!()]).toEqual([1, 0.5]);
  });

  it('keep damaged files, of unknown length, to report them', async () => {
    await put('a.wav', noise(8000));
    await writeFile(join(root, 'b.wav'), '');
    await writeFile(join(root, 'c.wav'), 'no sound');
    const source = await open();
    expect([...source.sizes!()]).toEqual([0.5, 0, 0]);
    expect(await reason(source, 1)).toBe('the file is empty');
    expect(await reason(source, 2)).toMatch(/not an audio file/);
  });
});

describe('files of which none can be read', () => {
  it('give the reason: of a single one, and of the first of several', async () => {
    const path = await put('a.wav', noise(8000));
    await writeFile(path, 'not sound');
    await expect(openNamed([path], settings(), { cacheDir })).rejects.toThrow(
      /^\S+a\.wav: not an audio file/,
    );
    const cut = await put('b.wav', noise(8000));
    await writeFile(cut, (await readFile(cut)).subarray(0, 5000));
    await expect(openNamed([cut], settings(), { cacheDir })).rejects.toThrow(
      /b\.wav: truncated: \d+ of \d+ bytes/,
    );
    const several = /^none of 2 audio files can be read; the first is \S+a\.wav: not an audio file/;
    await expect(openNamed([path, cut], settings(), { cacheDir })).rejects.toThrow(several);
    // Also where their lengths come from the cache.
    for (let i = 0; i < 2; i++) await expect(open()).rejects.toThrow(several);
    await put('c.wav', noise(8000));
    expect(await openNamed([root], settings(), { cacheDir })).toHaveLength(3);
  });
});

describe('long files', () => {
  it('give a random clip of each part, and a fixed one in evaluation', async () => {
    await put(
      'a.wav',
      Float32Array.from({ length: 40_000 }, (_, i) => i),
    );
    const source = await open('all', { normalize: false });
    expect(source.length).toBe(2);
    expect([...source.sizes!()]).toEqual([1, 1]);
    const starts = await Promise.all(
      Array.from({ length: 40 }, async (_, i) => (await get(source, 1, 'train', i)).tensors.source!.data[0]!),
    );
    expect(Math.min(...starts)).toBeGreaterThanOrEqual(20_000);
    expect(Math.max(...starts)).toBeLessThanOrEqual(24_000);
    expect(new Set(starts).size).toBeGreaterThan(20);
    expect((await get(source, 1)).tensors.source!.data[0]).toBe(22_000);
    expect((await get(source, 1, 'train')).tensors.crop?.shape).toEqual([1]);
  });

  it('named by the user are covered by parts', async () => {
    const path = await put(
      'a.wav',
      Float32Array.from({ length: 40_000 }, (_, i) => i),
    );
    const source = await openNamed([path], settings({ normalize: false }), { cacheDir });
    expect(source.length).toBe(3);
    expect(source.describe(1)).toBe(`${path} [0.83-1.67 s]`);
    let next = 0;
    for (let i = 0; i < source.length; i++) {
      for (const value of (await get(source, i)).tensors.source!.data) expect(value).toBe(next++);
    }
    expect(next).toBe(40_000);
  });

  it('of three hours are read by range', async () => {
    const path = join(root, 'long.wav');
    const samples = 3 * 3600 * 48_000;
    const head = wav({
      tag: 1,
      bits: 16,
      channels: 1,
      rate: 48_000,
      data: Buffer.alloc(0),
      size: 2 * samples,
    });
    const file = await openFile(path, 'w');
    await file.write(head);
    await file.write(
      Buffer.from(Int16Array.from({ length: 48_000 }, (_, i) => 1 + (i % 1000)).buffer),
      0,
      96_000,
      head.length + 2 * (samples - 48_000),
    );
    await file.close();
    const source = await openNamed([path], settings({ max_sample_size: 320_000 }), { cacheDir });
    expect(source.length).toBe(540);
    const before = process.memoryUsage();
    const last = await get(source, 539);
    const after = process.memoryUsage();
    expect(last.tensors.source!.shape).toEqual([320_000]);
    expect(last.tensors.source!.data.some((value) => value > 1)).toBe(true);
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(64 << 20);
  });
});

describe('unusual sound', () => {
  it('that is not a number is damaged', async () => {
    const samples = noise(8000);
    samples[77] = Number.NaN;
    await put('a.wav', samples);
    samples[77] = Number.POSITIVE_INFINITY;
    await put('b.wav', samples);
    const source = await open();
    expect(await reason(source, 0)).toMatch(/not \(finite\) numbers/);
    expect(await reason(source, 1)).toMatch(/not \(finite\) numbers/);
  });

  it('silence stays silence for features, and gets a faint noise in training', async () => {
    await put('a.wav', new Float32Array(8000));
    const source = await open();
    expect((await get(source)).tensors.source!.data.every((v) => v === 0)).toBe(true);
    const stirred = (await get(source, 0, 'train')).tensors.source!.data;
    expect(Math.max(...stirred)).toBeGreaterThan(1e-3);
    expect(Math.max(...stirred)).toBeLessThan(1e-2);
  });

  it('beyond full scale is taken as it is', async () => {
    await put(
      'a.wav',
      noise(8000).map((value) => 100 * value),
    );
    expect((await get(await open())).tensors.source!.data.every(Number.isFinite)).toBe(true);
  });
});

describe('manifests', () => {
  beforeEach(async () => {
    for (const [i, name] of ['a', 'b', 'c', 'd'].entries()) await put(`wavs/${name}.wav`, noise(8000, i));
  });

  it('state files and lengths, classes lie beside them', async () => {
    await manifest('train.tsv', [join(root, 'wavs'), 'a.wav\t8000', 'b.wav\t8000', 'c.wav\t500']);
    await manifest('valid.tsv', ['wavs', 'd.wav\t8000']);
    await manifest('train.lbl', ['yes', 'no', 'no']);
    await manifest('valid.lbl', ['yes']);
    for (const path of [root, join(root, 'train.tsv')]) {
      const [train, valid] = [await open('train', { path }), await open('valid', { path })];
      expect([train.length, valid.length]).toEqual([2, 1]);
      expect(train.classes).toEqual(['no', 'yes']);
      expect(train.describe(0)).toBe(join(root, 'wavs', 'a.wav'));
      expect([train.label!(0), train.label!(1), valid.label!(0)]).toEqual([1, 0, 1]);
      expect((await get(valid)).tensors.source!.shape).toEqual([8000]);
    }
  });

  it('without a second one are split by name', async () => {
    await manifest('all.tsv', ['wavs', ...['a', 'b', 'c', 'd'].map((name) => `${name}.wav\t8000`)]);
    const path = join(root, 'all.tsv');
    const parts = await Promise.all([
      open('train', { path, valid_share: 0.5 }),
      open('valid', { path, valid_share: 0.5 }),
    ]);
    expect(parts[0].length + parts[1].length).toBe(4);
    expect((await open('all', { path })).length).toBe(4);
  });

  it.each([
    [['wavs', 'a.wav'], /train.tsv, line 2: expected a path, a tab and a number/],
    [['wavs', 'a.wav\tlong'], /line 2: .*found "a.wav\tlong"/],
    [['', 'a.wav\t1'], /first line must be the folder/],
    [['a.wav\t1'], /first line must be the folder/],
  ])('that are wrong are explained: %j', async (lines, message) => {
    await manifest('train.tsv', lines);
    await expect(open('train')).rejects.toThrow(message);
  });

  it('and labels must agree', async () => {
    await manifest('train.tsv', ['wavs', 'a.wav\t8000']);
    await manifest('train.lbl', ['yes', 'no']);
    await expect(open('train')).rejects.toThrow(/train.lbl has 2 lines, train.tsv lists 1 files/);
  });
});

describe('several things named by the user', () => {
  it('are taken in order: manifests and shards whole, without a held-out part', async () => {
    await put('wavs/a.wav', noise(8000));
    await put('wavs/b.wav', noise(8000));
    await put('loose.wav', noise(8000));
    await manifest('train.tsv', ['wavs', 'a.wav\t8000', 'b.wav\t8000']);
    await manifest('train.lbl', ['yes', 'no']);
    await writeFile(
      join(root, 's.tar'),
      makeTar([
        { path: 'k/1.wav', content: encodeWav(noise(8000), RATE) },
        { path: 'k/1.cls', content: 'maybe' },
        { path: 'k/1.txt', content: 'a word' },
      ]),
    );
    const inputs = ['s.tar', 'loose.wav', 'train.tsv'].map((name) => join(root, name));
    const source = await openNamed(inputs, settings(), { cacheDir });
    expect([0, 1, 2, 3].map((i) => source.key!(i))).toEqual([
      'k/1 "a word"',
      join(root, 'loose.wav'),
      ...['a.wav', 'b.wav'].map((name) => join(root, 'wavs', name)),
    ]);
    expect(source.describe(0)).toBe(`${join(root, 's.tar')}: k/1 "a word"`);
    expect(source.classes).toEqual(['maybe', 'no', 'yes']);
    expect([0, 1, 2, 3].map((i) => source.label!(i))).toEqual([0, -1, 2, 1]);
    expect((await get(source, 0)).tensors.source!.shape).toEqual([8000]);
    await expect(openNamed([], settings(), { cacheDir })).rejects.toThrow(/no audio files given/);
  });

  it('may be a range of shards in braces', async () => {
    for (const i of [0, 1]) {
      const content = encodeWav(noise(8000), RATE);
      await writeFile(join(root, `s-${i}.tar`), makeTar([{ path: `x${i}.wav`, content }]));
    }
    const source = await openNamed([join(root, 's-{0..1}.tar')], settings(), { cacheDir });
    expect([0, 1].map((i) => source.key!(i))).toEqual(['x0', 'x1']);
    const beyond = openNamed([join(root, 's-{0..2}.tar')], settings(), { cacheDir });
    await expect(beyond).rejects.toThrow('s-2.tar: no such shard');
  });
});

describe('datasets', () => {
  it('by a wrong name get the right one', async () => {
    const data = settings({ path: null, dataset: 'instrument' } as Partial<AudioData>);
    await expect(openAudioData(data, options())).rejects.toThrow(/no dataset "instrument".*instruments/);
  });

  it('instruments: classes by the beginning of a name', () => {
    expect(
      ['bd_haus', 'drum_snare_soft', 'elec_hi_snare', 'ambi_choir', 'loop_amen'].map(instrumentOf),
    ).toEqual(['kick', 'snare', 'snare', 'ambient', undefined]);
  });

  it('prompts: texts by file', () => {
    const texts = parseTexts('; comment\n\nactivated: Activated.\ndigits/1: one: two\n', '/sounds');
    expect([...texts]).toEqual([
      [join('/sounds', 'activated.wav'), 'Activated.'],
      [join('/sounds', 'digits/1.wav'), 'one: two'],
    ]);
  });
});
