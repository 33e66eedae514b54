/** ImageNet (ILSVRC2012): from the official archives, an extracted tree, or the release on the Hugging Face hub. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  D2vError,
  type DatasetFile,
  defineDataset,
  type FilesContext,
  type PrepareContext,
  z,
} from '@d2v/core';
import { prepareTrainArchive, prepareValidArchive } from './archives.js';
import { readClasses } from './classes.js';
import { type Devkit, readDevkit, readDevkitFolder } from './devkit.js';
import { hubFiles, hubInputs, prepareHub } from './hub.js';
import { findTree, prepareClassFolders, prepareFlatFolder } from './tree.js';

const BASE = 'https://image-net.org/data/ILSVRC/2012';
const DEVKIT = 'ILSVRC2012_devkit_t12';

/** A published archive. */
export interface ImagenetArchive {
  bytes: number;
  md5: string;
}

/** Sizes and checksums of the three archives that are used. */
export interface ImagenetArchives {
  train: ImagenetArchive;
  valid: ImagenetArchive;
  /** Its size is not compared where none is given. */
  devkit: Pick<ImagenetArchive, 'md5'> & Partial<ImagenetArchive>;
}

/**
 * MD5s as torchvision states them (datasets/imagenet.py); the sizes of the two large archives as several public programs do.
 * About the size of the development kit these do not agree, so that its MD5 alone is compared.
 */
const PUBLISHED: ImagenetArchives = {
  train: { bytes: 147_897_477_120, md5: '1d675b47d978889d74fa0da5fadfb00e' },
  valid: { bytes: 6_744_924_160, md5: '29b22e2961454d5413ddabcf34fc5622' },
  devkit: { md5: 'fa75699e90414af021442c21a62c3abf' },
};

const NAMES: Record<keyof ImagenetArchives, string> = {
  train: 'ILSVRC2012_img_train.tar',
  valid: 'ILSVRC2012_img_val.tar',
  devkit: `${DEVKIT}.tar.gz`,
};

const SPLITS = ['train', 'valid'] as const;
type Split = (typeof SPLITS)[number];

const JPEG_QUALITY = 90;

const options = z
  .strictObject({
    source: z
      .enum(['archives', 'hub'])
      .default('archives')
      .describe(
        'archives of image-net.org (or a tree, with --from), or the parquet files of the Hugging Face hub',
      ),
    max_side: z
      .int()
      .min(32)
      .max(4096)
      .nullable()
      .default(null)
      .describe(
        'shorter side of larger images after preparation, in pixels; null = images as they are published',
      ),
    jpeg_quality: z
      .int()
      .min(50)
      .max(100)
      .default(JPEG_QUALITY)
      .describe('with max_side: quality of the smaller JPEG files'),
  })
  .refine(({ max_side, jpeg_quality }) => max_side !== null || jpeg_quality === JPEG_QUALITY, {
    // Images keep their bytes: it would be the same once more, in a folder of its own.
    error: 'jpeg_quality is for images that are made smaller: give max_side with it, or leave it out',
  });

export type ImagenetOptions = z.output<typeof options>;

/** ImageNet with other archives than the published ones, e.g. of fewer classes, packed in the same way. */
export function imagenetWith(archives: ImagenetArchives) {
  return defineDataset<ImagenetOptions>({
    name: 'imagenet',
    version: 1,
    description: 'ImageNet (ILSVRC2012): photos in 1000 classes',
    license: 'for non-commercial research and education only (https://image-net.org/download)',
    size: '1 281 167 + 50 000 images, 155 GB download',
    homepage: 'https://image-net.org',
    terms: `ImageNet may be used for non-commercial research and education only, under the terms of access at
https://image-net.org/download. The images belong to their owners; you must not hand them on. Register there, then use your
own copy (--from), your own server (--mirror), or the hub: accept the terms at
https://huggingface.co/datasets/ILSVRC/imagenet-1k, set HF_TOKEN, and give --source hub.
Cite: Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 115 (2015), 211-252.`,
    access: ({ source }) =>
      source === 'hub'
        ? {
            tokenEnv: ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN'],
            howTo:
              'accept the terms at https://huggingface.co/datasets/ILSVRC/imagenet-1k and set HF_TOKEN to a token of that account',
          }
        : {
            howTo:
              'register at https://image-net.org/download, and name a folder with the archives (--from) or a server of yours (--mirror https://host/folder; with a password, set D2V_MIRROR_IMAGENET=https://user:password@host/folder)',
          },
    options,
    splits: {
      train: { description: '1 281 167 images, 148 GB' },
      valid: { description: '50 000 images, 6.7 GB' },
    },
    files: (context) =>
      context.options.source === 'hub' ? hubFiles(context) : archiveFiles(context, archives),
    inputs: (from, split, { source }) =>
      source === 'hub' ? hubInputs(from, split) : treeInputs(from, split as Split),
    preparedBytes: (chosen, splits) =>
      splits.reduce((sum, split) => sum + preparedBytes(chosen, archives[split as Split].bytes), 0),
    prepare,
  });
}

export const imagenet = imagenetWith(PUBLISHED);

/** With headers and padding a shard of whole images is hardly larger than the archive. */
function preparedBytes({ max_side: side }: ImagenetOptions, archive: number): number {
  // An estimate: some 115 KB an image as they are published, 45 KB at 256 pixels and this quality.
  const share = side === null ? 1 : Math.min(1, 0.4 * (side / 256) ** 2);
  return Math.ceil(1.02 * share * archive);
}

async function archiveFiles(
  { splits, from }: Pick<FilesContext<ImagenetOptions>, 'splits' | 'from'>,
  archives: ImagenetArchives,
): Promise<DatasetFile[]> {
  const wanted = new Set<keyof ImagenetArchives>();
  for (const split of splits as Split[]) {
    const tree = from === null ? null : await findTree(from, split);
    if (!tree) wanted.add(split);
    if ((!tree || tree.flat) && !(await unpackedDevkit(from))) wanted.add('devkit');
  }
  return [...wanted].map((part) => {
    const { bytes, md5 } = archives[part];
    return { name: NAMES[part], urls: [`${BASE}/${NAMES[part]}`], bytes, checksums: { md5 } };
  });
}

/** What lies unpacked of a split. */
async function treeInputs(from: string, split: Split): Promise<string[]> {
  const tree = await findTree(from, split);
  const devkit = !tree || tree.flat ? await unpackedDevkit(from) : null;
  return [tree?.folder, devkit].filter((path) => path !== undefined && path !== null);
}

async function unpackedDevkit(from: string | null): Promise<string | null> {
  const folder = from === null ? null : join(from, DEVKIT);
  return folder !== null && (await stat(join(folder, 'data')).catch(() => null))?.isDirectory()
    ? folder
    : null;
}

async function prepare(ctx: PrepareContext<ImagenetOptions>): Promise<void> {
  for (const split of ctx.splits as Split[]) {
    await (ctx.options.source === 'hub' ? prepareHub(ctx, split) : prepareSplit(ctx, split));
  }
  // Parts of different origin must not number the classes differently.
  await readClasses(ctx.folder, ctx.splits);
}

async function prepareSplit(ctx: PrepareContext<ImagenetOptions>, split: Split): Promise<void> {
  const tree = ctx.from === null ? null : await findTree(ctx.from, split);
  if (tree && !tree.flat) {
    const training = ctx.from === null || split === 'train' ? null : await findTree(ctx.from, 'train');
    const wnids = training && !training.flat ? training.wnids : tree.wnids;
    return prepareClassFolders(ctx, split, tree, wnids);
  }
  const devkit = await devkitOf(ctx);
  if (tree) return prepareFlatFolder(ctx, tree.folder, devkit);
  const archive = ctx.raw(NAMES[split]);
  return split === 'train'
    ? prepareTrainArchive(ctx, archive, devkit)
    : prepareValidArchive(ctx, archive, devkit);
}

async function devkitOf(ctx: PrepareContext<ImagenetOptions>): Promise<Devkit> {
  const unpacked = await unpackedDevkit(ctx.from);
  if (!unpacked) return readDevkit(ctx.raw(NAMES.devkit));
  try {
    return await readDevkitFolder(unpacked);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new D2vError(`${(error as NodeJS.ErrnoException).path}: the development kit is not complete`);
    throw error;
  }
}
