import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type DataConfig, Philox, prepareDataset, verifyDataset } from '@d2v/core';
import { FaultServer, makeTar } from '@d2v/core/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ImageDataConfig, imageDataSchema } from '../data-config.js';
import { labelOf, makeCifar10, makeCifar100, planes, RECORDS } from './__fixtures__/cifar.js';
import { cifarWith } from './cifar.js';
import { datasets, openImageData } from './index.js';

const published = (bytes: Buffer) => ({
  bytes: bytes.length,
  md5: createHash('md5').update(bytes).digest('hex'),
});

let root: string;
let cacheDir: string;
let server: FaultServer;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'd2v-cifar-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));
beforeEach(async () => {
  cacheDir = await mkdtemp(join(root, 'cache-'));
  server = await FaultServer.start();
});
afterEach(() => server.close());

const prepare = (name: 'cifar10' | 'cifar100', archive: Buffer) => {
  server.serve(`/cifar-${name.slice(5)}-binary.tar.gz`, archive);
  const given = { cacheDir, mirror: server.url(''), acceptTerms: true, backoffScale: 0.01 };
  return prepareDataset(cifarWith(name, published(archive)), given);
};
const open = (dataset: string, split: 'train' | 'valid' | 'all') => {
  const data = {
    // Exactly the pixels: a resize to the same size, without normalisation.
    ...imageDataSchema.parse({ input_size: 32, crop_pct: 1, mean: [0, 0, 0], std: [1, 1, 1] }),
    path: null,
    dataset,
    dataset_options: {},
  } as unknown as ImageDataConfig & DataConfig;
  return openImageData(data, { split, cacheDir, offline: true, log: () => {} });
};

describe.each([
  ['cifar10', makeCifar10(), 10, 1000, 'airplane'],
  ['cifar100', makeCifar100(), 100, 0, 'fine_0'],
] as const)('%s', (name, archive, classes, seed, firstClass) => {
  it('gives the pixels and classes of its records', async () => {
    await prepare(name, archive);
    const [train, valid] = [await open(name, 'train'), await open(name, 'valid')];
    expect([train.length, valid.length]).toEqual([5 * RECORDS.batch, RECORDS.test]);
    expect([train.classes!.length, train.classes![0]]).toEqual([classes, firstClass]);
    for (const i of [0, 1, RECORDS.batch - 1]) {
      const { tensors, label } = await train.get(i, new Philox(1), 'eval');
      expect(label).toBe(labelOf(i, classes));
      expect(train.label!(i)).toBe(label);
      const found = Array.from(tensors.source!.data, (value) => Math.round(value * 255));
      expect(found).toEqual(Array.from(planes(label!, seed + i)));
    }
    expect(valid.label!(3)).toBe(labelOf(3, classes));
    const report = await verifyDataset(cifarWith(name, published(archive)), { cacheDir });
    expect(report.problems).toEqual([]);
    await Promise.all([train.close!(), valid.close!()]);
  });
});

describe('cifar10', () => {
  it.each([
    [
      'half a record',
      [{ path: 'test_batch.bin', content: new Uint8Array(3072) }],
      /test_batch\.bin" is no whole number of records of 3073/,
    ],
    [
      'an unknown class',
      [{ path: 'test_batch.bin', content: new Uint8Array(3073).fill(10) }],
      /has a record \(0\) of class 10/,
    ],
    ['no test batch', [], /"test_batch\.bin" is missing/],
  ] as const)('with %s is refused', async (_, test, message) => {
    const batches = [1, 2, 3, 4, 5].map((n) => ({
      path: `data_batch_${n}.bin`,
      content: new Uint8Array(3073),
    }));
    await expect(prepare('cifar10', gzipSync(makeTar([...batches, ...test])))).rejects.toThrow(message);
  });

  it('is not taken for prepared before it is', async () => {
    await expect(open('cifar10', 'train')).rejects.toThrow(/not prepared: run d2v data prepare cifar10/);
  });

  it('and the others suggest settings that their schema knows', () => {
    for (const { suggested } of Object.values(datasets)) {
      expect(imageDataSchema.parse(suggested)).toMatchObject(suggested);
    }
  });
});
