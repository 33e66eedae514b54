/** Shards as people have them. */
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { BadSampleError, Philox } from '@d2v/core';
import { makeTar, type TarFile } from '@d2v/core/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { audioDataSchema } from '../data-config.js';
import { encodeFlac } from '../decode/__fixtures__/encode-flac.js';
import { fixtureBytes } from '../decode/__fixtures__/tone.js';
import { sound } from './__fixtures__/corpora.js';
import { type AudioData, openPath } from './files.js';
import { encodeWav } from './wav-writer.js';

const RATE = 16_000;
let base: string;
let root: string;
let cacheDir: string;
let logged: string[];
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'd2v-audio-shards-'));
});
afterAll(() => rm(base, { recursive: true, force: true }));
beforeEach(async () => {
  root = await mkdtemp(join(base, 'data-'));
  cacheDir = await mkdtemp(join(base, 'cache-'));
  logged = [];
});

const put = (name: string, files: readonly TarFile[]) => writeFile(join(root, name), makeTar(files));
const open = (split: 'train' | 'valid' | 'all' = 'all', more: Partial<AudioData> = {}) =>
  openPath(
    {
      ...audioDataSchema.parse({ min_sample_size: 1000, max_sample_size: 16_000, normalize: false }),
      path: root,
      valid_path: null,
      valid_share: 0.5,
      ...more,
    } as AudioData & { path: string },
    { split, cacheDir, log: (line) => void logged.push(line) },
  );
const flac = (name: string) => encodeFlac(sound(name), RATE);

describe('tar shards', () => {
  it('hold sounds of any kind, texts and classes', async () => {
    await put('a.tar', [
      { path: 'x/1.flac', content: flac('x1') },
      { path: 'x/1.txt', content: 'hello  there\n' },
      { path: 'x/1.cls', content: '10' },
      { path: 'x/2.json', content: JSON.stringify({ label: 9, text: 'two' }) },
      { path: 'x/2.wav', content: encodeWav(sound('x2'), RATE) },
      { path: 'x/3.mp3', content: fixtureBytes('tone.mp3') },
      { path: 'x/4.txt', content: 'no sound' },
    ]);
    await put('b.tar', [{ path: '5.opus', content: fixtureBytes('tone.opus') }]);
    const source = await open();
    // The third sound gives two clips.
    expect(source.shards!()).toEqual([0, 4]);
    const shown = Array.from({ length: source.length }, (_, i) => source.describe(i));
    expect(shown[0]).toBe(`${join(root, 'a.tar')}: x/1 "hello there"`);
    expect(shown[1]).toBe(`${join(root, 'a.tar')}: x/2 "two"`);
    expect(shown[2]).toMatch(/a\.tar: x\/3/);
    expect(shown.at(-1)).toMatch(/b\.tar: 5/);
    expect(source.classes).toEqual(['9', '10']);
    expect([0, 1, 2].map((i) => source.label!(i))).toEqual([1, 0, -1]);
    expect(source.sizes!()[0]).toBe(sound('x1').length / RATE);
    for (let i = 0; i < source.length; i++) {
      const { tensors } = await source.get(i, new Philox(1), 'eval');
      expect(tensors.source!.shape[0]! / RATE).toBeCloseTo(source.sizes!()[i]!, 2);
    }
    expect([...(await source.get(1, new Philox(1), 'eval')).tensors.source!.data]).toEqual([...sound('x2')]);
  });

  it('are looked through once, until one changes', async () => {
    await put('a.tar', [{ path: '1.flac', content: flac('1') }]);
    await open();
    expect(logged.filter((line) => line.startsWith('looking through'))).toHaveLength(1);
    await open();
    expect(logged.filter((line) => line.startsWith('looking through'))).toHaveLength(1);
    await put('a.tar', [
      { path: '1.flac', content: flac('1') },
      { path: '2.flac', content: flac('2') },
    ]);
    expect((await open()).length).toBe(2);
    expect(await readdir(join(cacheDir, 'audio', 'shard-tables'))).toHaveLength(2);
  });

  it('are divided by their names, by valid_path, or by the names of samples', async () => {
    const many = (start: string, count: number) =>
      Array.from({ length: count }, (_, i) => ({ path: `${start}${i}.flac`, content: flac(`${start}${i}`) }));
    await put('train-0.tar', many('a', 5));
    await put('train-1.tar', many('b', 4));
    expect((await open('train')).length + (await open('valid')).length).toBe(9);
    expect((await open('valid')).length).toBeGreaterThan(0);
    await put('valid-0.tar', many('c', 2));
    expect([(await open('train')).length, (await open('valid')).length]).toEqual([9, 2]);
    const other = await mkdtemp(join(base, 'more-'));
    await writeFile(join(other, 'x.tar'), makeTar(many('d', 3)));
    const more = { path: join(root, 'train-{0..1}.tar'), valid_path: other };
    expect([(await open('train', more)).length, (await open('valid', more)).length]).toEqual([9, 3]);
    await expect(open('valid', { valid_path: cacheDir })).rejects.toThrow(
      /\(data.valid_path\) holds no tar shards/,
    );
  });

  it('may lie in folders train and dev, and are not what a folder of sounds is taken for', async () => {
    for (const part of ['train', 'dev']) await mkdir(join(root, part));
    await put('train/0.tar', [{ path: 'a.flac', content: flac('a') }]);
    await put('dev/0.tar', [{ path: 'b.flac', content: flac('b') }]);
    expect((await open('valid')).key!(0)).toBe('b');
    root = await mkdtemp(join(base, 'data-'));
    await put('backup.tar', [{ path: 'a.flac', content: flac('a') }]);
    await writeFile(join(root, 'b.flac'), flac('b'));
    expect((await open()).describe(0)).toBe(join(root, 'b.flac'));
  });

  it('with damaged sounds report them when they are asked for', async () => {
    await put('a.tar', [
      { path: '1.flac', content: flac('1') },
      { path: '2.flac', content: flac('2').subarray(0, 5000) },
      { path: '3.wav', content: 'no sound' },
      { path: '4.wav', content: '' },
    ]);
    const source = await open();
    expect([...source.sizes!()].slice(1)).toEqual([0, 0, 0]);
    const reasons = await Promise.all(
      [1, 2, 3].map((i) => source.get(i, new Philox(1), 'eval').catch((error: unknown) => error)),
    );
    for (const error of reasons) expect(error).toBeInstanceOf(BadSampleError);
    expect(String(reasons[0])).toContain(`${join(root, 'a.tar')}: 2: truncated`);
    expect(String(reasons[2])).toContain('the file is empty');
  });

  it('that cannot be read are refused, naming the entry', async () => {
    await writeFile(join(root, 'a.tar'), gzipSync(makeTar([{ path: '1.flac', content: flac('1') }])));
    await expect(open()).rejects.toThrow(/a\.tar: it is compressed.*gunzip/);
    await put('a.tar', [{ path: '../1.flac', content: flac('1') }]);
    await expect(open()).rejects.toThrow(/a\.tar: the entry "\.\.\/1\.flac" leads out/);
    await put('a.tar', [{ path: '1.json', content: '{' }]);
    await expect(open()).rejects.toThrow(/"1\.json" is not valid JSON/);
    await put('a.tar', [
      { path: '1.flac', content: flac('1') },
      { path: '1.wav', content: 'x' },
    ]);
    await expect(open()).rejects.toThrow(/"1\.wav" is a second sound/);
    await put('a.tar', [{ path: '1.txt', content: 'x' }]);
    await expect(open()).rejects.toThrow(/of 0 sounds in 1 shards none/);
  });
});
