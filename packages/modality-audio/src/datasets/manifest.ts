/**
 * fairseq's manifests: a `.tsv` whose first line is a folder, then one line per file: its path below the folder, a tab,
 * and its length in samples. A sound in an uncompressed archive is `archive:offset:bytes`. Files of the same name may hold a
 * class (`.lbl`) and what is said (`.wrd`) per line.
 */
import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { D2vError } from '@d2v/core';
import type { ClipFile } from '../clips/source.js';

const ENDING = '.tsv';
const LABEL_ENDING = '.lbl';
const WORDS_ENDING = '.wrd';

/** The manifests that a path stands for: the file itself, or `train.tsv` and `valid.tsv` of a folder; else null. */
export async function findManifests(path: string): Promise<{ train: string; valid: string | null } | null> {
  const info = await stat(path).catch(() => null);
  if (info?.isFile() && extname(path) === ENDING) {
    const beside = basename(path) === `train${ENDING}` ? join(dirname(path), `valid${ENDING}`) : null;
    return { train: path, valid: beside && (await isFile(beside)) ? beside : null };
  }
  if (!info?.isDirectory()) return null;
  const [train, valid] = [join(path, `train${ENDING}`), join(path, `valid${ENDING}`)];
  if (!(await isFile(train))) return null;
  return { train, valid: (await isFile(valid)) ? valid : null };
}

/** The files of a manifest. @throws D2vError naming the line that is not as it should be */
export async function readManifest(manifest: string): Promise<(ClipFile & { name: string })[]> {
  const [root = '', ...lines] = await readLines(manifest);
  if (root.trim() === '' || root.includes('\t')) {
    throw new D2vError(`${manifest}: the first line must be the folder that the paths below it start from`);
  }
  const folder = resolve(dirname(manifest), root.trim());
  const labels = await readBeside(manifest, LABEL_ENDING, lines.length);
  const words = await readBeside(manifest, WORDS_ENDING, lines.length);
  return lines.map((line, i) => {
    const [name = '', length = '', ...rest] = line.split('\t');
    const samples = Number(length);
    if (name === '' || rest.length > 0 || !/^\d+$/.test(length.trim()) || !Number.isSafeInteger(samples)) {
      throw new D2vError(
        `${manifest}, line ${i + 2}: expected a path, a tab and a number of samples, found "${line.slice(0, 80)}"`,
      );
    }
    const [, archive, offset, bytes] = /^(.+):(\d+):(\d+)$/.exec(name) ?? [];
    const path = resolve(folder, archive ?? name);
    return {
      path,
      ...(archive && {
        part: { offset: Number(offset), bytes: Number(bytes) },
        title: resolve(folder, name),
      }),
      name,
      samples,
      className: labels?.[i],
      text: words?.[i] || undefined,
    };
  });
}

/** The lines of a file beside a manifest, one per sound; null if there is none. */
async function readBeside(manifest: string, ending: string, count: number): Promise<string[] | null> {
  const file = manifest.slice(0, -ENDING.length) + ending;
  if (!(await isFile(file))) return null;
  const lines = (await readLines(file)).map((line) => line.trim());
  // Nothing may be said in the last sounds: empty lines at the end were dropped.
  while (ending === WORDS_ENDING && lines.length < count) lines.push('');
  if (lines.length === count) return lines;
  throw new D2vError(
    `${file} has ${lines.length} lines, ${basename(manifest)} lists ${count} files: they must agree`,
  );
}

/** Lines without the empty ones at the end. */
async function readLines(file: string): Promise<string[]> {
  try {
    return (await readFile(file, 'utf8'))
      .replace(/^\uFEFF/, '')
      .trimEnd()
      .split(/\r?\n/);
  } catch (error) {
    throw new D2vError(`cannot read ${file} (${(error as NodeJS.ErrnoException).code})`, { cause: error });
  }
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null))?.isFile() === true;
}
