import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DataConfig, type DataSource, dataLayer, isHeldOut, Philox } from '@d2v/core';
import { makeTar, type TarFile } from '@d2v/core/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { type ImageDataConfig, imageDataSchema } from '../data-config.js';
import image from '../index.js';
import { stripes } from './__fixtures__/imagenet.js';
import { openImageData, openImageInputs } from './index.js';

let root: string;
let folder: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'd2v-image-shards-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));
beforeEach(async () => {
  folder = await mkdtemp(join(root, 'case-'));
});

/** The source, closed at the end of the test. */
async function closedLater(opening: Promise<DataSource>): Promise<DataSource> {
  const source = await opening;
  onTestFinished(() => source.close?.());
  return source;
}
const open = (path: string, split: 'train' | 'valid' | 'all', more: Partial<DataConfig> = {}) =>
  closedLater(
    openImageData(
      {
        ...imageDataSchema.parse({ input_size: 16 }),
        path,
        valid_path: null,
        valid_share: 0.3,
        ...more,
      } as ImageDataConfig & DataConfig,
      { split, cacheDir: join(root, 'cache'), log: () => {} },
    ),
  );
const shard = (name: string, files: readonly TarFile[]) => writeFile(join(folder, name), makeTar(files));
const sample = async (key: string, label: number): Promise<TarFile[]> => [
  { path: `${key}.cls`, content: String(label) },
  { path: `${key}.jpg`, content: await stripes(label, Number(/\d+$/.exec(key))) },
];
const samples = async (prefix: string, count: number) =>
  (await Promise.all(Array.from({ length: count }, (_, i) => sample(`${prefix}${i}`, i % 3)))).flat();

describe('shards of the user', () => {
  it('are images with classes, and a share of them is held out by name', async () => {
    await shard('a-000.tar', await samples('x', 12));
    await shard('a-001.tar', await samples('y', 12));
    const [train, valid, all] = [
      await open(folder, 'train'),
      await open(folder, 'valid'),
      await open(folder, 'all'),
    ];
    expect(all.length).toBe(24);
    expect(all.shards!()).toEqual([0, 12]);
    const inFirst = Array.from({ length: train.length }, (_, i) => train.describe(i)).filter((name) =>
      name.includes('a-000.tar'),
    );
    expect(train.shards!()).toEqual([0, inFirst.length]);
    const keys = [...Array(12).keys()].flatMap((i) => [`x${i}`, `y${i}`]);
    expect(valid.length).toBe(keys.filter((key) => isHeldOut(key, 0.3)).length);
    expect(train.length + valid.length).toBe(24);
    for (let i = 0; i < valid.length; i++) {
      expect(isHeldOut(valid.describe(i).split(': ')[1]!, 0.3)).toBe(true);
    }
    expect(all.classes).toEqual(['0', '1', '2']);
    expect(await all.get(13, new Philox(1), 'train')).toMatchObject({ label: 1, id: 13 });
    expect((await train.get(0, new Philox(1), 'train')).tensors.source!.shape).toEqual([3, 16, 16]);
    expect((await train.get(2, new Philox(5), 'train')).tensors).toEqual(
      (await train.get(2, new Philox(5), 'train')).tensors,
    );
  });

  it('take classes from JSON, do without classes, and pass over samples without an image', async () => {
    const jpg = await stripes(0, 1);
    await shard('a.tar', [
      { path: 'p/1.jpeg', content: jpg },
      { path: 'p/1.json', content: '{"label": 4, "caption": "x"}' },
      { path: 'p/2.json', content: '{"label": 1}' },
      { path: 'p/3.mask.png', content: 'not this one' },
      { path: 'p/3.webp', content: jpg },
      { path: 'p/3.json', content: 'not json' },
    ]);
    const source = await open(join(folder, 'a.tar'), 'all');
    expect(source.length).toBe(2);
    expect([source.label!(0), source.label!(1)]).toEqual([4, -1]);
    expect((await source.get(1, new Philox(1), 'eval')).label).toBeUndefined();
    await shard('b.tar', [{ path: '1.jpg', content: jpg }]);
    expect((await open(join(folder, 'b.tar'), 'all')).classes).toBeUndefined();
  });

  it('may be a range in braces, also for --data', async () => {
    for (const i of ['07', '08', '09', '10']) await shard(`s-${i}.tar`, await samples(`k${i}_`, 2));
    const pattern = join(folder, 's-{08..10}.tar');
    expect((await open(pattern, 'all')).length).toBe(6);
    const layer = await dataLayer(image, pattern, '--data');
    expect(layer.value).toEqual({ data: { dataset: null, path: pattern } });
    const beyond = join(folder, 's-{08..12}.tar');
    await expect(dataLayer(image, beyond, '--data')).rejects.toThrow('s-11.tar: no such shard');
  });

  it('are divided by folders, by names, or by data.valid_path', async () => {
    for (const part of ['train', 'val']) await mkdir(join(folder, part));
    await shard('train/0.tar', await samples('a', 5));
    await shard('val/0.tar', await samples('b', 3));
    expect([(await open(folder, 'train')).length, (await open(folder, 'valid')).length]).toEqual([5, 3]);
    const given = { valid_path: join(folder, 'val') };
    expect((await open(join(folder, 'train'), 'valid', given)).length).toBe(3);
    folder = await mkdtemp(join(root, 'case-'));
    await shard('imagenet1k-train-0000.tar', await samples('a', 5));
    await shard('imagenet1k-validation-00.tar', await samples('b', 3));
    expect([(await open(folder, 'train')).length, (await open(folder, 'valid')).length]).toEqual([5, 3]);
    const all = await open(folder, 'all');
    expect(all.label!(6)).toBe(1);
    expect(all.shards!()).toEqual([0, 5]);
  });

  it('are not what a folder of images is taken for because a tar lies in it', async () => {
    await mkdir(join(folder, 'stripes'));
    await writeFile(join(folder, 'stripes', '1.jpg'), await stripes(0, 1));
    await shard('backup.tar', await samples('a', 5));
    expect((await open(folder, 'all')).length).toBe(1);
  });

  it('give damaged images as such, with shard and name', async () => {
    const files = await samples('x', 3);
    files[3]!.content = (files[3]!.content as Buffer).subarray(0, 300);
    await shard('a.tar', files);
    const source = await open(folder, 'all');
    const bad = { name: 'BadSampleError', file: `${join(folder, 'a.tar')}: x1` };
    await expect(source.get(1, new Philox(1), 'train')).rejects.toMatchObject(bad);
    expect((await source.get(2, new Philox(1), 'train')).label).toBe(2);
  });

  it('without images are refused, saying what they hold', async () => {
    await shard('a.tar', [{ path: '1.flac', content: 'x' }]);
    await expect(open(folder, 'all')).rejects.toThrow(/hold no images \(they hold flac; images are jpg,/);
    folder = await mkdtemp(join(root, 'case-'));
    await shard('ILSVRC2012_img_train.tar', [{ path: 'n01440764.tar', content: makeTar([]) }]);
    await expect(open(folder, 'all')).rejects.toThrow(
      /archives of archives are prepared first: d2v data prepare/,
    );
  });
});

describe('inputs named by the user', () => {
  const inputs = (...paths: string[]) => {
    const settings = { ...imageDataSchema.parse({ input_size: 16 }), label: 'parent' };
    const named = paths.map((path) => join(folder, path));
    const options = { cacheDir: join(root, 'cache') };
    return closedLater(openImageInputs(named, settings as unknown as ImageDataConfig & DataConfig, options));
  };

  it('are shards and files in the order given; keys name samples of shards', async () => {
    await mkdir(join(folder, 'files/tabby'), { recursive: true });
    await writeFile(join(folder, 'files/tabby/1.jpg'), await stripes(0, 1));
    await shard('s-0.tar', await samples('a', 2));
    await shard('s-1.tar', await samples('b', 1));
    const source = await inputs('s-{0..1}.tar', 'files', 's-0.tar');
    const all = [...Array(source.length).keys()];
    const file = join(folder, 'files/tabby/1.jpg');
    expect(all.map((i) => source.key!(i))).toEqual(['a0', 'a1', 'b0', file, 'a0', 'a1']);
    expect(source.describe(1)).toBe(`${join(folder, 's-0.tar')}: a1`);
    expect(source.classes).toEqual(['0', '1', 'tabby']);
    expect(all.map((i) => source.label!(i))).toEqual([0, 1, 0, 2, 0, 1]);
    expect(await source.get(3, new Philox(1), 'eval')).toMatchObject({ id: 3, label: 2 });
    expect(await source.get(5, new Philox(1), 'eval')).toMatchObject({ id: 5, label: 1 });
  });

  it('are taken whole, held-out shards too', async () => {
    for (const part of ['train', 'val']) await mkdir(join(folder, part));
    await shard('train/0.tar', await samples('a', 3));
    await shard('val/0.tar', await samples('b', 2));
    expect((await inputs('')).length).toBe(5);
    expect((await inputs('train')).length).toBe(3);
  });
});
