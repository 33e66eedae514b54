/**
 * Files of the user's own, with their classes and their split: `data.path` is a folder of any depth, a list of files
 * (.txt), or one file.
 *
 * Classes (`data.label`): `top`, the first folder below the root, is the layout of ImageNet and torchvision; `parent`
 * is the folder that holds the file; `path` all folders together; `none` ignores folders. A file beside the class
 * folders has no class; if there are no folders at all, the data is unlabelled.
 *
 * Split: `data.valid_path`, else folders named train and val (or valid, validation, dev, test) right below the root, else
 * a share of `data.valid_share` chosen by name (see held-out.ts).
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { D2vError } from '../../errors.js';
import type { DataConfig, OpenDataOptions } from '../../modality/contract.js';
import { HELD_OUT_NAMES, isHeldOut } from '../held-out.js';
import { type FileKind, type FoundFile, findInput } from './find.js';

/** Which folders are the class of a file. */
export const LABEL_RULES = ['top', 'parent', 'path', 'none'] as const;
export type LabelRule = (typeof LABEL_RULES)[number];

/** Files with their classes' names, and all classes in order of their numbers. */
export interface LabelledFiles {
  files: FoundFile[];
  classes: string[];
}

/** The files of a part of `data.path`. @throws D2vError if there are none */
export async function openLabelledFiles(
  data: Pick<DataConfig, 'valid_path' | 'valid_share'> & { path: string; label: LabelRule },
  kind: FileKind,
  { split, log }: Pick<OpenDataOptions, 'split' | 'log'>,
): Promise<LabelledFiles> {
  const { path, valid_path: validPath, label } = data;
  const roots = await splitRoots(path, validPath);
  const training = await labelled(roots.train, kind, label);
  // Class numbers come from the training folder, also for the other one.
  const classes = classNames(training);
  let files: FoundFile[];
  if (roots.valid) {
    const valid = split === 'train' ? [] : await labelled(roots.valid, kind, label);
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
        `${path}: of ${training.length} ${kind.noun} none falls into the ${split} part; set data.valid_path, or another data.valid_share`,
      );
    }
  }
  if (files.length === 0) throw nothing((split === 'valid' && roots.valid) || roots.train, kind);
  log(
    `${files.length} ${kind.noun}${classes.length > 0 ? ` in ${classes.length} classes` : ''} (${split}) from ${path}`,
  );
  return { files, classes };
}

/** Files named one by one (`d2v embed`), in that order, folders sorted. @throws D2vError if a name stands for nothing */
export async function namedFiles(
  paths: readonly string[],
  kind: FileKind,
  label: LabelRule,
): Promise<LabelledFiles> {
  const files: FoundFile[] = [];
  for (const path of paths) {
    const found = await labelled(path, kind, label);
    if (found.length === 0) throw nothing(path, kind);
    files.push(...found);
  }
  if (files.length === 0) throw new D2vError(`no ${kind.noun} given: name files or folders`);
  return { files, classes: classNames(files) };
}

/** The files of a path with their classes: those of a list as it states them, those of a folder by the rule. */
async function labelled(path: string, kind: FileKind, rule: LabelRule): Promise<FoundFile[]> {
  const { files, tree } = await findInput(path, kind);
  if (rule === 'none') return files.map((file) => ({ ...file, className: undefined }));
  return tree ? files.map((file) => ({ ...file, className: folderClass(file.name, rule) })) : files;
}

function folderClass(name: string, rule: Exclude<LabelRule, 'none'>): string | undefined {
  const folders = name.split('/').slice(0, -1);
  if (folders.length === 0) return undefined;
  return { top: folders[0], parent: folders.at(-1), path: folders.join('/') }[rule];
}

const nothing = (path: string, { noun, extensions }: FileKind) =>
  new D2vError(`${path}: no ${noun} found (${extensions.join(', ')})`);

/** Class names in order of their numbers. */
export function classNames(files: readonly Pick<FoundFile, 'className'>[]): string[] {
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
