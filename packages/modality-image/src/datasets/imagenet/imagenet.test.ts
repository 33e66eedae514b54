import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type DataConfig,
  type DatasetEvent,
  type DatasetOptions,
  Philox,
  prepareDataset,
  TarShards,
  verifyDataset,
} from '@d2v/core';
import { FaultServer, makeTar } from '@d2v/core/testing';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { type ImageDataConfig, imageDataSchema } from '../../data-config.js';
import {
  classFiles,
  makeArchives,
  makeHub,
  NAMES,
  PER_CLASS,
  published,
  stripes,
  trainName,
  VALIDATION,
  validFiles,
  validLabel,
  WNIDS,
} from '../__fixtures__/imagenet.js';
import { openImageData } from '../index.js';
import { imagenetWith } from './index.js';
import { writePictures } from './pictures.js';

let root: string;
let cacheDir: string;
let server: FaultServer;
let archives: Awaited<ReturnType<typeof makeArchives>>;
let events: DatasetEvent[];
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'd2v-imagenet-'));
  archives = await makeArchives();
});
afterAll(() => rm(root, { recursive: true, force: true }));
beforeEach(async () => {
  cacheDir = await mkdtemp(join(root, 'cache-'));
  server = await FaultServer.start();
  serve(archives);
  events = [];
});
afterEach(() => server.close());

const serve = (files: Record<keyof typeof NAMES, Buffer>) => {
  for (const part of ['train', 'valid', 'devkit'] as const) server.serve(`/${NAMES[part]}`, files[part]);
};
const given = (more: DatasetOptions = {}): DatasetOptions => ({
  cacheDir,
  mirror: server.url(''),
  acceptTerms: true,
  backoffScale: 0.01,
  threads: 2,
  on: (event) => events.push(event),
  ...more,
});
const warnings = () => events.flatMap((event) => (event.type === 'warning' ? event.message : []));

/** The prepared dataset as training sees it. */
async function open(split: 'train' | 'valid' | 'all', options: Record<string, unknown> = {}) {
  const data = {
    ...imageDataSchema.parse({ input_size: 16 }),
    path: null,
    dataset: 'imagenet',
    dataset_options: options,
    valid_share: 0.25,
  } as unknown as ImageDataConfig & DataConfig;
  const source = await openImageData(data, { split, cacheDir, offline: true, log: () => {} });
  onTestFinished(() => source.close?.());
  return source;
}

/** All prepared files with their contents. */
async function prepared(variant = 'default'): Promise<Map<string, string>> {
  const folder = join(cacheDir, 'datasets', 'imagenet', 'prepared', variant);
  const names = (await readdir(folder)).sort();
  const contents = await Promise.all(
    names.map(async (name) => [name, (await readFile(join(folder, name))).toString('base64')] as const),
  );
  return new Map(contents);
}

const imagenet = () => imagenetWith(published(archives));

describe('the official archives', () => {
  it('are downloaded, prepared and opened, with the class numbers everybody uses', async () => {
    const ready = await prepareDataset(imagenet(), given());
    expect(ready.steps.map(({ key }) => key)).toEqual([
      'train/classes',
      ...WNIDS.map((wnid) => `train/${wnid}`),
      'valid/00000',
      'valid/classes',
    ]);
    expect(warnings()).toEqual([]);
    // One amount a split, which ends at its total.
    const shown = events.flatMap((event) =>
      event.type === 'progress' && event.phase === 'prepare' ? event : [],
    );
    expect(new Set(shown.map(({ item }) => item))).toEqual(new Set(['train', 'valid']));
    for (const item of ['train', 'valid']) {
      const own = shown.filter((event) => event.item === item);
      const amounts = own.map(({ done }) => done);
      expect(amounts).toEqual([...amounts].sort((a, b) => a - b));
      expect(new Set(own.map(({ total }) => total))).toEqual(new Set([amounts.at(-1)]));
    }
    const [train, valid, all] = [await open('train'), await open('valid'), await open('all')];
    expect([train.length, valid.length, all.length]).toEqual([36, VALIDATION, 36 + VALIDATION]);
    expect(train.classes).toEqual(WNIDS);
    for (let i = 0; i < train.length; i++) {
      expect(train.label!(i)).toBe(Math.floor(i / PER_CLASS));
      expect(train.describe(i)).toContain(`train-${WNIDS[train.label!(i)]}.tar: ${WNIDS[train.label!(i)]}_`);
    }
    for (let i = 0; i < valid.length; i++) expect(valid.label!(i)).toBe(validLabel(i));
    expect(all.label!(40)).toBe(validLabel(4));
    const sample = await train.get(20, new Philox(1), 'train');
    expect(sample).toMatchObject({ label: 1, id: 20, tensors: { source: { shape: [3, 16, 16] } } });
    expect(await verifyDataset(imagenet(), { cacheDir })).toMatchObject({ problems: [] });
    await Promise.all([train, valid, all].map((source) => source.close!()));
  });

  it('keep their images as they are, byte by byte', async () => {
    await prepareDataset(imagenet(), given({ options: { splits: 'train' } }));
    const shard = Buffer.from((await prepared()).get(`train-${WNIDS[1]}.tar`)!, 'base64');
    const image = await stripes(1, 5);
    expect(shard.indexOf(image)).toBeGreaterThan(0);
    const valid = await open('valid');
    // One part alone: a share of it is held out.
    expect(valid.length).toBeGreaterThan(0);
    expect(valid.length + (await open('train')).length).toBe(36);
  });

  it('are used where they lie, and refused when they are others', async () => {
    const from = await mkdtemp(join(root, 'from-'));
    for (const part of ['train', 'valid', 'devkit'] as const)
      await writeFile(join(from, NAMES[part]), archives[part]);
    await prepareDataset(imagenet(), given({ from, offline: true }));
    expect(server.requests).toEqual([]);
    expect(await readdir(join(cacheDir, 'datasets', 'imagenet'))).not.toContain('raw');
    expect((await open('train')).length).toBe(36);

    cacheDir = await mkdtemp(join(root, 'cache-'));
    const changed = Buffer.from(archives.valid);
    changed[changed.length >> 1]! ^= 1;
    await writeFile(join(from, NAMES.valid), changed);
    await expect(prepareDataset(imagenet(), given({ from, offline: true }))).rejects.toThrow(
      /ILSVRC2012_img_val\.tar is not the published .*md5/i,
    );
  });

  it('refuse a JPEG quality that would change nothing', async () => {
    await expect(prepareDataset(imagenet(), given({ options: { jpeg_quality: 80 } }))).rejects.toThrow(
      /options of imagenet: .*give max_side with it/,
    );
  });

  it('become smaller images with --max-side, in a folder of their own', async () => {
    const options = { max_side: 32, jpeg_quality: 80 };
    await prepareDataset(imagenet(), given({ options }));
    const source = await open('train', options);
    expect(source.length).toBe(36);
    const shard = Buffer.from(
      (await prepared('jpeg_quality-80,max_side-32')).get(`train-${WNIDS[0]}.tar`)!,
      'base64',
    );
    const start = shard.indexOf(Buffer.from([0xff, 0xd8, 0xff]));
    const { width, height, chromaSubsampling, format } = await sharp(shard.subarray(start)).metadata();
    expect({ width, height, chromaSubsampling, format }).toEqual({
      width: 40,
      height: 32,
      chromaSubsampling: '4:2:0',
      format: 'jpeg',
    });
  });

  it('give the same files after an interruption at any step', async () => {
    await prepareDataset(imagenet(), given());
    const whole = await prepared();
    cacheDir = await mkdtemp(join(root, 'cache-'));
    let interruptions = 0;
    for (let seen = 1; ; seen += 13) {
      const controller = new AbortController();
      let left = seen;
      const on = (event: DatasetEvent) => {
        if (event.type === 'progress' && event.phase === 'prepare' && --left === 0)
          controller.abort(new Error('stopped by the test'));
      };
      try {
        await prepareDataset(imagenet(), given({ on, signal: controller.signal }));
        break;
      } catch (error) {
        expect((error as Error).message).toBe('stopped by the test');
        interruptions++;
      }
    }
    expect(interruptions).toBeGreaterThan(1);
    expect(await prepared()).toEqual(whole);
  });

  it('survive a download that is cut', async () => {
    server.fault(`/${NAMES.train}`, { kind: 'cut', at: 30_000, times: 2 });
    server.fault(`/${NAMES.devkit}`, { kind: 'status', status: 503, times: 1 });
    await prepareDataset(imagenet(), given({ connections: 1 }));
    expect((await open('train')).length).toBe(36);
  });
});

describe('damage', () => {
  it('of images is counted and listed, and they are left out', async () => {
    const files = await Promise.all(WNIDS.map((_, label) => classFiles(label)));
    const content = files[1]![3]!.content as Buffer;
    files[1]![3]!.content = content.subarray(0, content.length - 200);
    files[1]![7]!.content = Buffer.from('no image at all');
    const damaged = await makeArchives(files);
    serve(damaged);
    const ready = await prepareDataset(imagenetWith(published(damaged)), given());
    const step = ready.steps.find(({ key }) => key === `train/${WNIDS[1]}`)!;
    expect(step.counts).toMatchObject({ images: PER_CLASS - 2, damaged: 2 });
    expect(warnings()).toEqual([
      expect.stringMatching(
        /^train-n02119789: 2 of 12 images are damaged and left out, e\.g\. n02119789_103\.JPEG: /,
      ),
    ]);
    const list = Buffer.from((await prepared()).get('train-n02119789.damaged.jsonl')!, 'base64').toString();
    const lines = list.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line).file)).toEqual([trainName(1, 3), trainName(1, 7)]);
    expect((await open('train')).length).toBe(34);
  });

  it('of all images of a class is an error', async () => {
    const files = await Promise.all(WNIDS.map((_, label) => classFiles(label)));
    for (const file of files[2]!) file.content = 'nothing';
    const damaged = await makeArchives(files);
    serve(damaged);
    await expect(prepareDataset(imagenetWith(published(damaged)), given())).rejects.toThrow(
      /train-n03000684: all 12 images are damaged, e\.g\. n03000684_100\.JPEG: not an image/,
    );
  });

  it.each([
    [
      'leads out',
      [{ path: '../../evil.JPEG', content: 'x' }],
      /n02119789\.tar: the entry "\.\.\/\.\.\/evil\.JPEG" leads out/,
    ],
    [
      'is a link',
      [{ path: 'a.JPEG', type: 'SymbolicLink', linkpath: '/etc/passwd' }],
      /n02119789\.tar: the entry "a\.JPEG" is a link/,
    ],
    ['is absolute', [{ path: '/etc/evil.JPEG', content: 'x' }], /n02119789\.tar: .* absolute/],
    [
      'is there twice',
      [{ path: 'a.JPEG' }, { path: 'a.JPEG' }],
      /n02119789\.tar: the entry "a\.JPEG" is there twice/,
    ],
    [
      'is said to be huge',
      [{ path: 'a.JPEG', content: 'x', size: 2 ** 33 }],
      /n02119789\.tar: the entry "a\.JPEG" is larger/,
    ],
  ] as const)('a class tar whose entry %s is refused', async (_, entries, message) => {
    const first = await classFiles(0);
    const evil = makeTar(entries.map((entry) => ({ ...entry })));
    const hostile = await makeArchives([first, evil, await classFiles(2)]);
    serve(hostile);
    const options = { splits: 'train' };
    await expect(prepareDataset(imagenetWith(published(hostile)), given({ options }))).rejects.toThrow(
      message,
    );
    const left = await readdir(join(cacheDir, 'datasets', 'imagenet', 'prepared', 'default'));
    expect(left).not.toContain('train-n02119789.tar');
  });

  it('of the archives: classes that are missing or unknown, labels without images', async () => {
    const refuse = async (changed: Partial<typeof archives>, message: RegExp) => {
      cacheDir = await mkdtemp(join(root, 'cache-'));
      const all = { ...archives, ...changed };
      serve(all);
      await expect(prepareDataset(imagenetWith(published(all)), given())).rejects.toThrow(message);
    };
    const one = makeTar(await classFiles(0));
    await refuse(
      { train: makeTar([{ path: 'n01440764.tar', content: one }]) },
      /"n02119789\.tar" is missing/,
    );
    await refuse(
      { train: makeTar([{ path: 'n99999999.tar', content: one }]) },
      /"n99999999\.tar" is not the archive of a class/,
    );
    const valid = await validFiles();
    await refuse({ valid: makeTar(valid.slice(1)) }, /holds 8 images, the development kit has labels for 9/);
    await refuse({ valid: makeTar([{ path: 'x.JPEG' }]) }, /"x\.JPEG" is no validation image/);
    await refuse({ devkit: makeTar([{ path: 'data/readme.txt' }]) }, /"meta\.mat" is missing/);
  });
});

describe('an extracted tree', () => {
  const extract = async (
    folder: string,
    files: readonly { path: string; content?: Uint8Array | string }[],
  ) => {
    await mkdir(folder, { recursive: true });
    for (const { path, content = '' } of files) await writeFile(join(folder, path), content);
  };
  const trainTree = async (from: string, below = 'train') => {
    for (const [label, wnid] of WNIDS.entries())
      await extract(join(from, below, wnid), await classFiles(label));
  };

  it('with validation images in class folders needs nothing else', async () => {
    const from = await mkdtemp(join(root, 'tree-'));
    await trainTree(from);
    const files = await validFiles();
    for (const [i, file] of files.entries()) await extract(join(from, 'val', WNIDS[validLabel(i)]!), [file]);
    await prepareDataset(imagenet(), given({ from, offline: true }));
    const [train, valid] = [await open('train'), await open('valid')];
    expect([train.length, valid.length]).toEqual([36, VALIDATION]);
    const labels = Array.from({ length: VALIDATION }, (_, i) => valid.label!(i)).sort();
    expect(labels).toEqual(Array.from({ length: VALIDATION }, (_, i) => validLabel(i)).sort());
  });

  it('with flat validation images takes their classes from the development kit, and gives the same as archives', async () => {
    const from = await mkdtemp(join(root, 'tree-'));
    await trainTree(from, 'ILSVRC/Data/CLS-LOC/train');
    await extract(join(from, 'ILSVRC/Data/CLS-LOC/val'), await validFiles());
    await prepareDataset(imagenet(), given({ from }));
    expect(server.requests.map(({ path }) => path)).toEqual([`/${NAMES.devkit}`]);
    const fromTree = await prepared();
    cacheDir = await mkdtemp(join(root, 'cache-'));
    await prepareDataset(imagenet(), given());
    expect(fromTree).toEqual(await prepared());
  });
});

describe('pictures of one stem', () => {
  it('get keys of their own', async () => {
    const folder = await mkdtemp(join(root, 'stems-'));
    const [first] = await validFiles();
    async function* pictures() {
      for (const name of ['a/n_1.JPEG', 'a/n_1.png', 'b/n_1.png'])
        yield { name, bytes: Buffer.from(first!.content!), label: 1 };
    }
    const context = {
      options: { max_side: null, jpeg_quality: 90 },
      warn: () => {},
      signal: new AbortController().signal,
    };
    const output = { folder, wrote: () => {}, atEnd: () => {} };
    expect((await writePictures(context, output, 'x', pictures())).images).toBe(3);
    const shards = await TarShards.open([join(folder, 'x.tar')], { cacheDir });
    expect([0, 1, 2].map((i) => shards.key(i))).toEqual(['n_1', 'n_1_png', 'n_1_png_2']);
    await shards.close();
  });
});

describe('the release on the hub', () => {
  const options = { source: 'hub' };
  let files: Record<string, Buffer>;
  beforeAll(async () => {
    files = await makeHub();
  });
  beforeEach(() => {
    for (const [path, content] of Object.entries(files)) server.serve(path, content);
  });

  it('is listed, downloaded with the token, and prepared into the same images and classes', async () => {
    await prepareDataset(imagenet(), given({ options, token: 'hf_secret' }));
    expect(new Set(server.requests.map(({ authorization }) => authorization))).toEqual(
      new Set(['Bearer hf_secret']),
    );
    expect(server.requests.map(({ path }) => path).filter((path) => path.includes('test-'))).toEqual([]);
    const [train, valid] = [await open('train'), await open('valid', options)];
    expect([train.length, valid.length]).toEqual([36, VALIDATION]);
    expect(train.classes).toEqual(WNIDS);
    for (let i = 0; i < valid.length; i++) expect(valid.label!(i)).toBe(validLabel(i));
    for (let i = 0; i < train.length; i++) expect(train.describe(i)).toContain(WNIDS[train.label!(i)]);
    const shard = Buffer.from((await prepared('source-hub')).get('train-00001.tar')!, 'base64');
    expect(shard.indexOf(await stripes(1, 11))).toBeGreaterThan(0);
  });

  it('says what to do when access is refused', async () => {
    const first = '/datasets/ILSVRC/imagenet-1k/resolve/main/data/train-00000-of-00002.parquet';
    for (const status of [401, 403]) {
      server.heal(first);
      server.fault(first, { kind: 'status', status });
      await expect(prepareDataset(imagenet(), given({ options }))).rejects.toThrow(
        new RegExp(`\\(${status}\\).*accept the terms at .*imagenet-1k and set HF_TOKEN`),
      );
    }
  });

  it('refuses a list without all parts, rows without images, and files that are no parquet', async () => {
    const list = '/api/datasets/ILSVRC/imagenet-1k/tree/main/data';
    const entries = JSON.parse(files[list]!.toString()) as { path: string }[];
    server.serve(list, JSON.stringify(entries.filter(({ path }) => !path.includes('train-00001'))));
    await expect(prepareDataset(imagenet(), given({ options }))).rejects.toThrow(
      'of the 2 parquet files of train, number 1 is missing',
    );
    server.serve(list, '<html>');
    await expect(prepareDataset(imagenet(), given({ options }))).rejects.toThrow(
      "not the hub's list of files",
    );
    const mirror = server.url('/?token=secret').replace('http://', 'http://me:secret@');
    const error = await prepareDataset(imagenet(), given({ options, mirror })).catch((e: Error) => e);
    expect(String(error)).toContain("not the hub's list of files");
    expect(String(error)).not.toContain('secret');

    const from = await mkdtemp(join(root, 'hub-'));
    await writeFile(join(from, 'validation-00000-of-00001.parquet'), 'PAR1 this is none PAR1');
    const valid = { source: 'hub', splits: 'valid' };
    await expect(prepareDataset(imagenet(), given({ from, options: valid, offline: true }))).rejects.toThrow(
      /validation-00000-of-00001\.parquet: it is damaged or no parquet/,
    );
  });

  it('can lie in a folder already', async () => {
    const from = await mkdtemp(join(root, 'hub-'));
    await mkdir(join(from, 'data'));
    for (const [path, content] of Object.entries(files)) {
      if (path.endsWith('.parquet')) await writeFile(join(from, 'data', path.split('/').at(-1)!), content);
    }
    await prepareDataset(imagenet(), given({ from, options, offline: true }));
    expect((await open('train', options)).length).toBe(36);
  });
});
