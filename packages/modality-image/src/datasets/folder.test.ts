import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { BadSampleError, D2vError, type DataConfig, type DataSource, Philox } from '@d2v/core';
import sharp from 'sharp';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ImageDataConfig, imageDataSchema } from '../data-config.js';
import { openFiles, openFolder } from './folder.js';

let base: string;
let root: string;
let count = 0;
let red: Buffer;

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'd2v-folder-'));
  red = await sharp({ create: { width: 12, height: 9, channels: 3, background: '#ff0000' } })
    .png()
    .toBuffer();
});
afterAll(() => rm(base, { recursive: true, force: true }));
beforeEach(async () => {
  root = join(base, String(count++));
  await mkdir(root);
});

async function put(...names: string[]) {
  for (const name of names) {
    await mkdir(dirname(join(root, name)), { recursive: true });
    await writeFile(join(root, name), red);
  }
}

const settings = (more: Partial<ImageDataConfig & DataConfig> = {}) =>
  ({
    ...imageDataSchema.parse({ input_size: 8 }),
    path: root,
    valid_path: null,
    valid_share: 0.1,
    ...more,
  }) as ImageDataConfig & DataConfig & { path: string };
const open = (split: 'train' | 'valid' | 'all' = 'all', more: Partial<ImageDataConfig & DataConfig> = {}) =>
  openFolder(settings(more), { split, log: () => {} });
const names = (source: DataSource, from = root) =>
  Array.from({ length: source.length }, (_, i) =>
    source
      .describe(i)
      .slice(from.length + 1)
      .replaceAll('\\', '/'),
  );
const labels = (source: DataSource) => Array.from({ length: source.length }, (_, i) => source.label!(i));

describe('folders', () => {
  it('of any depth: the first one is the class', async () => {
    await put('dog/a.png', 'cat/deep/er/b.PNG', 'cat/a.jpg', 'beside.png');
    const source = await open();
    expect(names(source)).toEqual(['beside.png', 'cat/a.jpg', 'cat/deep/er/b.PNG', 'dog/a.png']);
    expect(source.classes).toEqual(['cat', 'dog']);
    expect(labels(source)).toEqual([-1, 0, 0, 1]);
    const sample = await source.get(3, new Philox(1), 'eval');
    expect(sample).toMatchObject({ label: 1, id: 3, tensors: { source: { shape: [3, 8, 8] } } });
    expect((await source.get(0, new Philox(1), 'eval')).label).toBeUndefined();
  });

  it('other rules for classes', async () => {
    await put('x/one/a.png', 'x/two/a.png', 'y/one/a.png');
    expect((await open('all', { label: 'parent' })).classes).toEqual(['one', 'two']);
    expect((await open('all', { label: 'path' })).classes).toEqual(['x/one', 'x/two', 'y/one']);
    expect((await open('all', { label: 'none' })).classes).toBeUndefined();
  });

  it('without folders there are no classes', async () => {
    await put('a.png', 'b.png');
    const source = await open();
    expect(source.classes).toBeUndefined();
    expect(labels(source)).toEqual([-1, -1]);
  });

  it('only files that look like images, no hidden ones', async () => {
    await put('a/1.png', 'a/2.webp', 'a/3.jpeg', 'a/4.tiff', 'a/5.avif', 'a/6.gif');
    await put('a/notes.txt', 'a/Thumbs.db', 'a/.DS_Store', 'a/._1.png', '.hidden/1.png', 'a/drawing.svg');
    expect(names(await open())).toHaveLength(6);
  });

  it('names from all over the world', async () => {
    await put('猫/写真 1.png', 'Ünïcode/naïve 🐱.png', "it's/a [b] {c} (d)!.png", '#hash/100%.png');
    const source = await open();
    expect(source.length).toBe(4);
    for (let i = 0; i < 4; i++) await source.get(i, new Philox(1), 'train');
    expect(source.classes).toContain('猫');
  });

  it('glob characters in the root', async () => {
    root = join(root, 'we[i]rd (*) {a,b}');
    await put('a/1.png');
    expect((await open()).length).toBe(1);
  });

  it.skipIf(process.platform === 'win32')('links are followed, in circles only once', async () => {
    await put('a/1.png', 'a/deep/2.png');
    const outside = join(base, `outside-${count}`);
    await mkdir(outside);
    await writeFile(join(outside, 'far.png'), red);
    await symlink(outside, join(root, 'linked'));
    await symlink(join(root, 'a', '1.png'), join(root, 'a', 'same.png'));
    await symlink(root, join(root, 'a', 'deep', 'up'));
    await symlink(join(root, 'nowhere'), join(root, 'a', 'broken.png'));
    expect(names(await open())).toEqual(['a/1.png', 'a/deep/2.png', 'a/same.png', 'linked/far.png']);
  });

  it('nothing there', async () => {
    await expect(open()).rejects.toThrow(/no images found/);
    await expect(open('all', { path: join(root, 'none') })).rejects.toThrow(/no such file or folder/);
  });
});

describe('splits', () => {
  it('by folders named train and val', async () => {
    await put('train/cat/1.png', 'train/dog/1.png', 'val/dog/2.png', 'val/dog/3.png');
    const [train, valid, all] = [await open('train'), await open('valid'), await open('all')];
    expect(names(train)).toEqual(['train/cat/1.png', 'train/dog/1.png']);
    expect(names(valid)).toEqual(['val/dog/2.png', 'val/dog/3.png']);
    expect(valid.classes).toEqual(['cat', 'dog']);
    expect(labels(valid)).toEqual([1, 1]);
    expect(all.length).toBe(4);
  });

  it('by data.valid_path', async () => {
    await put('t/cat/1.png', 'v/cat/2.png');
    const more = { path: join(root, 't'), valid_path: join(root, 'v') };
    expect(names(await open('train', more))).toEqual(['t/cat/1.png']);
    expect(names(await open('valid', more))).toEqual(['v/cat/2.png']);
    await put('v/bird/2.png');
    await expect(open('valid', more)).rejects.toThrow(/has classes that .* has not: bird/);
  });

  it('by name otherwise: disjoint, complete, and no image changes sides when others come', async () => {
    const files = Array.from({ length: 120 }, (_, i) => `${i % 3}/${i}.png`);
    await put(...files);
    const parts = async () => [names(await open('train')), names(await open('valid'))] as const;
    const [train, valid] = await parts();
    expect([...train, ...valid].sort()).toEqual([...files].sort());
    expect(valid.length).toBeGreaterThan(2);
    expect(valid.length).toBeLessThan(30);
    await put(...files.map((name) => name.replace('.png', '-new.png')));
    const [later, laterValid] = await parts();
    expect(later).toEqual(expect.arrayContaining(train));
    expect(laterValid).toEqual(expect.arrayContaining(valid));
  });

  it('says what to do when a part is empty', async () => {
    await put('a/1.png');
    await expect(open('valid', { valid_share: 0 })).rejects.toThrow(/set data.valid_path/);
  });
});

describe('files by name', () => {
  it('come in the order given, folders sorted', async () => {
    await put('z.png', 'f/b.png', 'f/a.png', 'f/sub/c.png');
    const source = await openFiles([join(root, 'z.png'), join(root, 'f')], settings());
    expect(names(source)).toEqual(['z.png', 'f/a.png', 'f/b.png', 'f/sub/c.png']);
  });

  it('can be a list, with classes after a tab', async () => {
    await put('one.png', 'two.png');
    await writeFile(join(root, 'list.txt'), '\uFEFF# comment\r\none.png\tcat\r\n\r\ntwo.png\tdog\n');
    const source = await openFiles([join(root, 'list.txt')], settings());
    expect(names(source)).toEqual(['one.png', 'two.png']);
    expect(source.classes).toEqual(['cat', 'dog']);
    expect((await open('all', { path: join(root, 'list.txt') })).classes).toEqual(['cat', 'dog']);
  });

  it('in a list without classes have none, whatever their folders', async () => {
    await put('cat/one.png', 'dog/two.png');
    await writeFile(join(root, 'list.txt'), `cat/one.png\n${join(root, 'dog', 'two.png')}\n`);
    const source = await open('all', { path: join(root, 'list.txt') });
    expect(names(source)).toEqual(['cat/one.png', 'dog/two.png']);
    expect(source.classes).toBeUndefined();
  });

  it('that are missing or empty are an error', async () => {
    await expect(openFiles([join(root, 'none.png')], settings())).rejects.toThrow(D2vError);
    await expect(openFiles([root], settings())).rejects.toThrow(/no images found/);
    await expect(openFiles([], settings())).rejects.toThrow(/name files or folders/);
  });

  it('that are damaged are named', async () => {
    await put('a.png');
    await writeFile(join(root, 'b.png'), red.subarray(0, 40));
    const source = await openFiles([root], settings());
    await source.get(0, new Philox(1), 'eval');
    const error = await source.get(1, new Philox(1), 'eval').catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(BadSampleError);
    expect(error).toMatchObject({ file: join(root, 'b.png') });
  });
});

describe('determinism', () => {
  it('a training sample follows from the generator', async () => {
    const noise = Buffer.from(Array.from({ length: 40 * 30 * 3 }, (_, i) => (i * 7919) % 251));
    const raw = { width: 40, height: 30, channels: 3 } as const;
    await writeFile(join(root, 'n.jpg'), await sharp(noise, { raw }).jpeg().toBuffer());
    const source = await open();
    const draw = async (seed: number) =>
      (await source.get(0, new Philox(seed), 'train')).tensors.source!.data;
    expect(await draw(1)).toEqual(await draw(1));
    expect(await draw(1)).not.toEqual(await draw(2));
  });
});
