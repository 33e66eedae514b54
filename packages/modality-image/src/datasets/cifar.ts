/**
 * CIFAR-10 and CIFAR-100 in their binary versions: records of one or two label bytes and three planes of 32 x 32 pixels.
 * Prepared into shards of raw pixels (ending `rgb`): decoding such small images would cost more than reading them.
 */

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  ArchiveError,
  D2vError,
  defineDataset,
  type PrepareContext,
  readTar,
  ShardWriter,
  type StepOutput,
  z,
} from '@d2v/core';

/** Pixels on a side. */
export const CIFAR_SIDE = 32;
const PLANE = CIFAR_SIDE ** 2;
const CLASSES_FILE = 'classes.json';
/** The batches have 31 MB, the whole of CIFAR-100's training images 154 MB. */
const LIMITS = { entryBytes: 256 << 20, totalBytes: 1 << 30, entries: 100 };

/** What differs between the two. */
interface CifarKind {
  name: 'cifar10' | 'cifar100';
  classes: number;
  archive: string;
  bytes: number;
  md5: string;
  /** Files of each part, in order. */
  parts: Readonly<Record<'train' | 'valid', readonly string[]>>;
  /** The file with the names of the classes. */
  names: string;
  /** Label bytes of a record; the last one is the class. */
  labelBytes: number;
}

/**
 * Sizes as TensorFlow Datasets records them (url_checksums/cifar10.txt, cifar100.txt); MD5s as the homepage states them, which
 * public programs that read the binary versions repeat.
 */
const KINDS: Record<'cifar10' | 'cifar100', CifarKind> = {
  cifar10: {
    name: 'cifar10',
    classes: 10,
    archive: 'cifar-10-binary.tar.gz',
    bytes: 170_052_171,
    md5: 'c32a1d4ab5d03f1284b67883e8d87530',
    parts: { train: [1, 2, 3, 4, 5].map((i) => `data_batch_${i}.bin`), valid: ['test_batch.bin'] },
    names: 'batches.meta.txt',
    labelBytes: 1,
  },
  cifar100: {
    name: 'cifar100',
    classes: 100,
    archive: 'cifar-100-binary.tar.gz',
    bytes: 168_513_733,
    md5: '03b5dce01913d631647c71ecec9e9cb8',
    parts: { train: ['train.bin'], valid: ['test.bin'] },
    names: 'fine_label_names.txt',
    labelBytes: 2,
  },
};

/** One of the two with another archive than the published one, e.g. of fewer images, packed in the same way. */
export function cifarWith(name: 'cifar10' | 'cifar100', archive: { bytes?: number; md5?: string } = {}) {
  const kind = { ...KINDS[name], ...archive };
  return defineDataset<Record<string, never>>({
    name,
    version: 1,
    description: `CIFAR-${kind.classes}: colour photos of 32 x 32 pixels in ${kind.classes} classes`,
    license: 'none stated; made for research (a subset of 80 Million Tiny Images)',
    size: '50 000 + 10 000 images, 170 MB download',
    homepage: 'https://www.cs.toronto.edu/~kriz/cifar.html',
    terms: `CIFAR-${kind.classes} was collected by Alex Krizhevsky, Vinod Nair and Geoffrey Hinton from images on the web. No licence is stated.
Cite: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.`,
    options: z.strictObject({}),
    splits: {
      train: { description: '50 000 images' },
      valid: { description: '10 000 images (its test part)' },
    },
    files: () => [
      {
        name: kind.archive,
        urls: [`https://www.cs.toronto.edu/~kriz/${kind.archive}`],
        bytes: kind.bytes,
        checksums: { md5: kind.md5 },
      },
    ],
    preparedBytes: (_, splits) => splits.reduce((sum, split) => sum + (split === 'train' ? 231e6 : 46e6), 0),
    prepare: (ctx) => prepare(ctx, kind),
  });
}

export const cifar10 = cifarWith('cifar10');
export const cifar100 = cifarWith('cifar100');

/** Class names of a prepared one. */
export async function cifarClasses(folder: string): Promise<string[]> {
  return JSON.parse(await readFile(join(folder, CLASSES_FILE), 'utf8')) as string[];
}

async function prepare(ctx: PrepareContext<unknown>, kind: CifarKind): Promise<void> {
  const archive = ctx.raw(kind.archive);
  for (const split of ctx.splits as ('train' | 'valid')[]) {
    await ctx.step(split, (output) => writeSplit(ctx, output, archive, kind, split));
  }
  await ctx.step('classes', async (output) => {
    await writeFile(
      join(output.folder, CLASSES_FILE),
      `${JSON.stringify(await classNames(archive, kind))}\n`,
    );
    return {};
  });
}

const baseOf = (name: string) => name.slice(name.lastIndexOf('/') + 1);

async function writeSplit(
  ctx: PrepareContext<unknown>,
  output: StepOutput,
  archive: string,
  kind: CifarKind,
  split: 'train' | 'valid',
) {
  const files = kind.parts[split];
  const shard = await ShardWriter.create(output, `${split}.tar`);
  const seen = new Set<string>();
  for await (const entry of readTar(archive, { ...LIMITS, signal: ctx.signal })) {
    const file = baseOf(entry.name);
    if (!files.includes(file)) continue;
    seen.add(file);
    const records = await entry.read();
    const size = kind.labelBytes + 3 * PLANE;
    if (records.length === 0 || records.length % size !== 0)
      throw new ArchiveError(archive, entry.name, `is no whole number of records of ${size} bytes`);
    // The files of a part have one size.
    const total = (files.length * records.length) / size;
    const stem = file.replace('.bin', '');
    for (let i = 0; i < records.length / size; i++) {
      const record = records.subarray(i * size, (i + 1) * size);
      const label = record[kind.labelBytes - 1]!;
      if (label >= kind.classes)
        throw new ArchiveError(archive, entry.name, `has a record (${i}) of class ${label}`);
      const key = `${stem}_${String(i).padStart(5, '0')}`;
      await shard.add({ key, files: { rgb: interleaved(record.subarray(kind.labelBytes)) }, label });
      if (shard.count % 1000 === 0) ctx.progress(split, shard.count, total, 'images');
    }
  }
  const missing = files.find((file) => !seen.has(file));
  if (missing !== undefined) throw new ArchiveError(archive, missing, 'is missing');
  return shard.finish();
}

/** Planes of red, green and blue as pixels. */
function interleaved(planes: Uint8Array): Uint8Array {
  const pixels = new Uint8Array(3 * PLANE);
  for (let i = 0; i < PLANE; i++) {
    pixels[3 * i] = planes[i]!;
    pixels[3 * i + 1] = planes[PLANE + i]!;
    pixels[3 * i + 2] = planes[2 * PLANE + i]!;
  }
  return pixels;
}

async function classNames(archive: string, kind: CifarKind): Promise<string[]> {
  for await (const entry of readTar(archive, LIMITS)) {
    if (baseOf(entry.name) !== kind.names) continue;
    const text = (await entry.read(1 << 20)).toString('utf8');
    const names = text.split('\n').flatMap((line) => line.trim() || []);
    if (names.length !== kind.classes)
      throw new ArchiveError(archive, entry.name, `names ${names.length} classes instead of ${kind.classes}`);
    return names;
  }
  throw new D2vError(`${archive}: the names of the classes (${kind.names}) are missing`);
}
