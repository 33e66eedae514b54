/**
 * Finding text: folders of any depth and single files. Names are sorted by code unit, so the order is the same on every
 * platform; hidden files and other kinds of files in folders are passed over.
 */
import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { D2vError } from '@d2v/core';
import fastGlob from 'fast-glob';

const TEXT = ['txt', 'text', 'md'];
const JSONL = ['jsonl', 'ndjson'];
const PATTERN = `**/*.{${[...TEXT, ...JSONL].join(',')}}{,.gz}`;
const NAME = new RegExp(`\\.(${[...TEXT, ...JSONL].join('|')})(\\.gz)?$`, 'i');

/** Whether a file is text, by its name. */
export const isTextName = (name: string): boolean => NAME.test(name);
const isJsonl = (name: string) => new RegExp(`\\.(${JSONL.join('|')})(\\.gz)?$`, 'i').test(name);

/** A file of text. */
export interface TextFile {
  path: string;
  /** Relative to the folder that was searched, with `/`. */
  name: string;
  /** A record of JSON per line; otherwise plain text. */
  jsonl: boolean;
  bytes: number;
  /** When it was changed, in nanoseconds. */
  changed: bigint;
  /** Whether it was found in a folder, so that folders may be classes. */
  inTree: boolean;
}

/**
 * The files that a path stands for: all of a folder, or the file itself, whatever its name.
 * @throws D2vError if there is nothing there
 */
export async function findText(path: string): Promise<TextFile[]> {
  const info = await stat(path).catch(() => null);
  if (!info) throw new D2vError(`${path}: no such file or folder`);
  if (!info.isDirectory()) return [await describeFile(path, basename(path), false)];
  const options = { cwd: path, caseSensitiveMatch: false, followSymbolicLinks: true };
  const names = await fastGlob(PATTERN, options).catch((error: NodeJS.ErrnoException) => {
    throw new D2vError(`cannot read ${error.path ?? path} (${error.code ?? error.message})`, {
      cause: error,
    });
  });
  if (names.length === 0) {
    throw new D2vError(`${path}: no files that end with ${[...TEXT, ...JSONL].join(', ')} or these with .gz`);
  }
  names.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  const files: TextFile[] = [];
  for (const name of names) files.push(await describeFile(join(path, name), name, true));
  return files;
}

async function describeFile(path: string, name: string, inTree: boolean): Promise<TextFile> {
  const info = await stat(path, { bigint: true }).catch((error: NodeJS.ErrnoException) => {
    throw new D2vError(`cannot read ${path} (${error.code})`, { cause: error });
  });
  const bytes = Number(info.size);
  return { path, name, jsonl: isJsonl(name), bytes, changed: info.mtimeNs, inTree };
}

/** The class that a file's folders give it. */
export function folderClass(file: TextFile, rule: 'top' | 'parent' | 'path' | 'none'): string | null {
  const folders = file.name.split('/').slice(0, -1);
  if (!file.inTree || rule === 'none' || folders.length === 0) return null;
  return rule === 'top' ? folders[0]! : rule === 'parent' ? folders.at(-1)! : folders.join('/');
}
