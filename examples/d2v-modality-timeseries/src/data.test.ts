import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BadSampleError, type DataConfig, Philox } from '@d2v/core';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TimeseriesData } from './config.js';
import { parseSeries } from './csv.js';
import { openFiles, openTimeseries } from './data.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'd2v-timeseries-'));
  for (const name of ['calm', 'storm']) {
    await mkdir(join(root, name));
    for (let i = 0; i < 10; i++) {
      const rows = Array.from({ length: 20 }, (_, t) => `${Math.sin(t + i)},${t}`);
      await writeFile(join(root, name, `${i}.csv`), `wave,time\n${rows.join('\n')}\n`);
    }
  }
  await writeFile(join(root, 'storm', '9.csv'), '1,2\n3\n');
});
afterAll(() => rm(root, { recursive: true }));

const data = (changes: object = {}) =>
  ({
    path: root,
    valid_path: null,
    dataset: null,
    valid_share: 0.2,
    limit: 0,
    crop_length: 8,
    jitter: 0,
    ...changes,
  }) as TimeseriesData & DataConfig;
const open = (split: 'train' | 'valid' | 'all', changes = {}) =>
  openTimeseries(data(changes), { split, cacheDir: root, log() {} });

describe('folders', () => {
  it('split every class and label by folder', async () => {
    const [train, valid] = [await open('train'), await open('valid')];
    expect([train.length, valid.length]).toEqual([16, 4]);
    expect(valid.classes).toEqual(['calm', 'storm']);
    expect([0, 1, 2, 3].map((i) => valid.label!(i))).toEqual([0, 0, 1, 1]);
    const sample = await train.get(0, new Philox(1), 'train');
    expect(sample.tensors.source!.shape).toEqual([8, 2]);
    expect((await train.get(0, new Philox(1), 'eval')).tensors.source!.shape).toEqual([20, 2]);
  });

  it('tell which file is damaged, and where', async () => {
    const all = await open('all');
    const read = all.get(19, new Philox(1), 'eval');
    await expect(read).rejects.toThrow('line 2 has 1 values, the first has 2');
    await expect(read).rejects.toBeInstanceOf(BadSampleError);
  });

  it('say when there is nothing', async () => {
    await expect(open('train', { path: join(root, 'none') })).rejects.toThrow('no **/*.{csv,tsv,txt} files');
    await expect(open('train', { path: null, dataset: 'waveform' })).rejects.toThrow(
      'did you mean "waveforms"?',
    );
    await expect(openFiles([join(root, 'none')], data())).rejects.toThrow('no such file or folder');
    const files = await openFiles([join(root, 'calm'), join(root, 'storm', '1.csv')], data());
    expect(files.length).toBe(11);
  });
});

describe('parseSeries', () => {
  it('reads the usual separators', () => {
    for (const text of ['a,b\n1,2\n3,4', '1;2\r\n3;4\r\n', '1\t2\n\n3\t4', ' 1 2\n 3  4 ']) {
      expect([...parseSeries(text, 'x').data]).toEqual([1, 2, 3, 4]);
    }
  });
  it('gives a series or a BadSampleError for any text', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          const { data: values, steps, channels } = parseSeries(text, 'x');
          expect(values.length).toBe(steps * channels);
        } catch (error) {
          expect(error).toBeInstanceOf(BadSampleError);
        }
      }),
    );
  });
});
