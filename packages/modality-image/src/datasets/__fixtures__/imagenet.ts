/**
 * A copy of ImageNet with 3 classes, built like the real one: a tar of class tars, a flat tar of validation images, the
 * development kit with its own class numbers, and the hub's parquet files.
 */
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { Philox } from '@d2v/core';
import { makeTar, type TarFile } from '@d2v/core/testing';
import { parquetWriteBuffer } from 'hyparquet-writer';
import sharp from 'sharp';
import type { ImagenetArchives } from '../imagenet/index.js';
import { makeMat } from './mat.js';

/** Sorted: the class numbers that everybody uses. */
export const WNIDS = ['n01440764', 'n02119789', 'n03000684'] as const;
export const PER_CLASS = 12;
export const VALIDATION = 9;
/** The development kit counts otherwise, and has a synset that is no class. */
const KIT_ID: Record<string, number> = { n01440764: 3, n02119789: 1, n03000684: 2 };

export const NAMES = {
  train: 'ILSVRC2012_img_train.tar',
  valid: 'ILSVRC2012_img_val.tar',
  devkit: 'ILSVRC2012_devkit_t12.tar.gz',
} as const;

/** Class number of validation image i (from 0). */
export const validLabel = (i: number): number => (i * 2 + 1) % WNIDS.length;

/** A JPEG of stripes whose direction is the class; the same in every process. */
export async function stripes(label: number, seed: number, width = 60, height = 48): Promise<Buffer> {
  const rng = new Philox(7).fork(label, seed);
  const [dx, dy] = [
    [1, 0],
    [0, 1],
    [1, 1],
  ][label % 3] as [number, number];
  const [frequency, phase] = [rng.uniform(0.2, 0.8), rng.uniform(0, 6)];
  const ink = [rng.uniform(), rng.uniform(), rng.uniform()];
  const pixels = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const [x, y] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
    return 127 + 120 * ink[i % 3]! * Math.sin(frequency * (dx * x + dy * y) + phase);
  });
  return sharp(pixels, { raw: { width, height, channels: 3 } })
    .jpeg({ quality: 92 })
    .toBuffer();
}

export const trainName = (label: number, i: number) => `${WNIDS[label]}_${100 + i}.JPEG`;
export const validName = (i: number) => `ILSVRC2012_val_${String(i + 1).padStart(8, '0')}.JPEG`;

/** The images of a class, as they are in its tar. */
export const classFiles = (label: number): Promise<TarFile[]> =>
  Promise.all(
    Array.from({ length: PER_CLASS }, async (_, i) => ({
      path: trainName(label, i),
      content: await stripes(label, i),
    })),
  );

export const validFiles = (): Promise<TarFile[]> =>
  Promise.all(
    Array.from({ length: VALIDATION }, async (_, i) => ({
      path: validName(i),
      content: await stripes(validLabel(i), 1000 + i),
    })),
  );

export function makeDevkit(): Buffer {
  const leaves = WNIDS.map((wnid) => ({ wnid, id: KIT_ID[wnid]!, children: 0 }));
  const synsets = [...leaves, { wnid: 'n00001740', id: 4, children: 3 }].sort((a, b) => a.id - b.id);
  const meta = makeMat(
    'synsets',
    synsets.map(({ wnid, id, children }) => ({
      ILSVRC2012_ID: id,
      WNID: wnid,
      words: `words of ${wnid}`,
      gloss: 'a kind of stripes',
      num_children: children,
      children: children === 0 ? [] : [1, 2, 3],
      wordnet_height: 0,
      num_train_images: PER_CLASS,
    })),
  );
  const truth = Array.from({ length: VALIDATION }, (_, i) => `${KIT_ID[WNIDS[validLabel(i)]!]}\n`).join('');
  const folder = 'ILSVRC2012_devkit_t12';
  return gzipSync(
    makeTar([
      { path: `${folder}/readme.txt`, content: 'made by a test' },
      { path: `${folder}/data/meta.mat`, content: meta },
      { path: `${folder}/data/ILSVRC2012_validation_ground_truth.txt`, content: truth },
    ]),
  );
}

/** The official archives by name. @param classes files of each class tar, or the bytes of one */
export async function makeArchives(
  classes?: readonly (readonly TarFile[] | Buffer)[],
): Promise<Record<keyof ImagenetArchives, Buffer>> {
  const given = classes ?? (await Promise.all(WNIDS.map((_, label) => classFiles(label))));
  return {
    train: makeTar(
      given.map((files, label) => ({
        path: `${WNIDS[label]}.tar`,
        content: Buffer.isBuffer(files) ? files : makeTar(files as TarFile[]),
      })),
    ),
    valid: makeTar(await validFiles()),
    devkit: makeDevkit(),
  };
}

/** What is published of them. */
export function published(archives: Record<keyof ImagenetArchives, Buffer>): ImagenetArchives {
  const of = (bytes: Buffer) => ({
    bytes: bytes.length,
    md5: createHash('md5').update(bytes).digest('hex'),
  });
  return { train: of(archives.train), valid: of(archives.valid), devkit: of(archives.devkit) };
}

const HUB = '/datasets/ILSVRC/imagenet-1k/resolve/main/';
const LIST = '/api/datasets/ILSVRC/imagenet-1k/tree/main/data';

/** The hub's answers by path: the list of files, and two parquet files of training images and one of validation images. */
export async function makeHub(): Promise<Record<string, Buffer>> {
  const train = await Promise.all(
    Array.from({ length: WNIDS.length * PER_CLASS }, async (_, n) => {
      // Shuffled, as on the hub.
      const [label, i] = [(n * 2) % WNIDS.length, Math.floor(n / WNIDS.length)];
      const path = trainName(label, i).replace('.JPEG', `_${WNIDS[label]}.JPEG`);
      return { label, path, bytes: await stripes(label, i) };
    }),
  );
  const valid = await Promise.all(
    Array.from({ length: VALIDATION }, async (_, i) => {
      const label = validLabel(i);
      const path = validName(i).replace('.JPEG', `_${WNIDS[label]}.JPEG`);
      return { label, path, bytes: await stripes(label, 1000 + i) };
    }),
  );
  const half = Math.ceil(train.length / 2);
  const files: Record<string, Buffer> = {
    'data/train-00000-of-00002.parquet': makeParquet(train.slice(0, half)),
    'data/train-00001-of-00002.parquet': makeParquet(train.slice(half)),
    'data/validation-00000-of-00001.parquet': makeParquet(valid),
    'data/test-00000-of-00001.parquet': makeParquet(valid.map((row) => ({ ...row, label: -1 }))),
  };
  const list = Object.entries(files).map(([path, content]) => ({
    type: 'file',
    oid: createHash('sha1').update(content).digest('hex'),
    size: content.length,
    path,
    lfs: { oid: createHash('sha256').update(content).digest('hex'), size: content.length, pointerSize: 134 },
  }));
  return {
    [LIST]: Buffer.from(JSON.stringify(list)),
    ...Object.fromEntries(Object.entries(files).map(([path, content]) => [HUB + path, content])),
  };
}

interface Row {
  label: number;
  path: string;
  bytes: Buffer;
}

export function makeParquet(rows: readonly Row[]): Buffer {
  const columnData = [
    { name: 'image', data: rows.map(({ bytes, path }) => ({ bytes: new Uint8Array(bytes), path })) },
    { name: 'label', data: rows.map(({ label }) => BigInt(label)) },
  ];
  const schema = [
    { name: 'root', num_children: 2 },
    { name: 'image', num_children: 2, repetition_type: 'OPTIONAL' as const },
    { name: 'bytes', type: 'BYTE_ARRAY' as const, repetition_type: 'OPTIONAL' as const },
    {
      name: 'path',
      type: 'BYTE_ARRAY' as const,
      converted_type: 'UTF8' as const,
      repetition_type: 'OPTIONAL' as const,
    },
    { name: 'label', type: 'INT64' as const, repetition_type: 'OPTIONAL' as const },
  ];
  return Buffer.from(parquetWriteBuffer({ columnData, schema, rowGroupSize: 10 }));
}
