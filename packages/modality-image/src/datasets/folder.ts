/**
 * Images of the user's own: `data.path` is a folder of any depth, a list of files (.txt), or one image.
 *
 * Classes (`data.label`): `top`, the first folder below the root, is the layout of ImageNet and torchvision; `parent`
 * is the folder that holds the image; `path` all folders together; `none` ignores folders. An image beside the class
 * folders has no class; if there are no folders at all, the data is unlabelled.
 *
 * Split: `data.valid_path`, else folders named train and val (or valid, validation, test) right below the root, else
 * a share of `data.valid_share` chosen by name (see split.ts).
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { D2vError, type DataConfig, type DataSource, isHeldOut, type OpenDataOptions } from '@d2v/core';
import type { ImageDataConfig } from '../data-config.js';
import { decodePlanned, openImage } from '../decode.js';
import { normalize, planTransform } from '../transforms.js';
import { type FoundFile, findInput } from './files.js';

const HELD_OUT_NAMES = ['val', 'valid', 'validation', 'test'];

/** Opens `data.path`. @throws D2vError if there are no images */
export async function openFolder(
  data: ImageDataConfig & DataConfig & { path: string },
  options: Pick<OpenDataOptions, 'split' | 'log'>,
): Promise<DataSource> {
  const { path, valid_path: validPath } = data;
  const { split } = options;
  const roots = await splitRoots(path, validPath);
  const training = await labelled(roots.train, data);
  // Class numbers come from the training folder, also for the other one.
  const classes = classNames(training);
  let files: FoundFile[];
  if (roots.valid) {
    const valid = split === 'train' ? [] : await labelled(roots.valid, data);
    const missing = new Set(
      valid.map((file) => file.className).filter((name) => name && !classes.includes(name)),
    );
    if (missing.size > 0 && classes.length > 0) {
      throw new D2vError(
        `${roots.valid} has classes that ${roots.train} has not: ${[...missing].slice(0, 5).join(', ')}; rename its folders, or set data.label to none`,
      );
    }
    files = { train: training, valid, all: [...training, ...valid] }[split];
  } else {
    const heldOut = (file: FoundFile) => isHeldOut(file.name, data.valid_share);
    files = split === 'all' ? training : training.filter((file) => heldOut(file) === (split === 'valid'));
    if (files.length === 0 && training.length > 0) {
      throw new D2vError(
        `${path}: of ${training.length} images none falls into the ${split} part; set data.valid_path, or another data.valid_share`,
      );
    }
  }
  if (files.length === 0) throw noImages((split === 'valid' && roots.valid) || roots.train);
  options.log(
    `${files.length} images${classes.length > 0 ? ` in ${classes.length} classes` : ''} (${split}) from ${path}`,
  );
  return fileSource(path, files, classes, data);
}

/** Images named one by one (`d2v embed`): unlabelled unless a list says more, without augmentation. */
export async function openFiles(
  paths: readonly string[],
  data: ImageDataConfig & DataConfig,
): Promise<DataSource> {
  const files: FoundFile[] = [];
  for (const path of paths) {
    const found = await labelled(path, data);
    if (found.length === 0) throw noImages(path);
    files.push(...found);
  }
  if (files.length === 0) throw new D2vError('no images given: name files or folders');
  return fileSource(paths.join(', '), files, classNames(files), data);
}

/** The images of a path with their classes: those of a list as it states them, those of a folder by the rule. */
async function labelled(path: string, { label }: ImageDataConfig): Promise<FoundFile[]> {
  const { files, tree } = await findInput(path);
  if (label === 'none') return files.map((file) => ({ ...file, className: undefined }));
  return tree ? files.map((file) => ({ ...file, className: folderClass(file.name, label) })) : files;
}

function folderClass(name: string, rule: 'top' | 'parent' | 'path'): string | undefined {
  const folders = name.split('/').slice(0, -1);
  if (folders.length === 0) return undefined;
  return { top: folders[0], parent: folders.at(-1), path: folders.join('/') }[rule];
}

const noImages = (path: string) => new D2vError(`${path}: no images found (jpg, png, webp, gif, avif, tiff)`);

/** Class names in order of their numbers. */
function classNames(files: readonly FoundFile[]): string[] {
  const names = new Set<string>();
  for (const file of files) if (file.className !== undefined) names.add(file.className);
  return [...names].sort();
}

async function splitRoots(
  path: string,
  validPath: string | null,
): Promise<{ train: string; valid: string | null }> {
  const names = await readdir(path).catch(() => [] as string[]);
  const inner = names.includes('train') && (await isFolder(join(path, 'train'))) ? join(path, 'train') : null;
  if (validPath) return { train: inner ?? path, valid: validPath };
  if (!inner) return { train: path, valid: null };
  for (const name of HELD_OUT_NAMES) {
    if (names.includes(name) && (await isFolder(join(path, name))))
      return { train: inner, valid: join(path, name) };
  }
  return { train: inner, valid: null };
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null))?.isDirectory() === true;
}

function fileSource(
  name: string,
  files: readonly FoundFile[],
  classes: string[],
  data: ImageDataConfig,
): DataSource {
  const numbers = new Map(classes.map((className, number) => [className, number]));
  const label = (index: number) => numbers.get(files[index]!.className ?? '') ?? -1;
  return {
    length: files.length,
    name,
    classes: classes.length > 0 ? classes : undefined,
    describe: (index) => files[index]!.path,
    label,
    async get(index, rng, mode) {
      const image = await openImage(files[index]!.path, data);
      const plan = planTransform(image.width, image.height, data, rng, mode);
      const pixels = await decodePlanned(image, plan, data);
      const number = label(index);
      return {
        tensors: { source: normalize(pixels, plan.flip, data) },
        label: number < 0 ? undefined : number,
        id: index,
      };
    },
  };
}
