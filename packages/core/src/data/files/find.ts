/**
 * Finding files of one kind: in folders of any depth, one by one, and by lists of files.
 *
 * Names are sorted by code unit, so the order is the same on every platform. Links to files and folders are followed;
 * a folder that was seen before (a link back up, or two links to one place) is not entered again.
 */
import { readFile, realpath, stat } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import fastGlob from 'fast-glob';
import { D2vError } from '../../errors.js';

/** What a modality reads. */
export interface FileKind {
  /** In the plural, for messages: `images`. */
  noun: string;
  /** Endings of the names that are taken from folders, lower case, without dot. */
  extensions: readonly string[];
}

/** A file below a folder. */
export interface FoundFile {
  path: string;
  /** Relative to the folder that was searched, with `/`. */
  name: string;
  /** Class stated by a list, or by the folders. */
  className?: string;
}

const LIST_ENDING = '.txt';

/** Whether a name has one of a kind's endings. */
export function hasEnding(name: string, { extensions }: FileKind): boolean {
  return extensions.includes(extname(name).slice(1).toLowerCase());
}

const byName = (a: FoundFile, b: FoundFile) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

/** All files of a kind below a folder, sorted. Hidden files and folders, and other files, are passed over. */
export async function findFiles(folder: string, kind: FileKind): Promise<FoundFile[]> {
  const found: FoundFile[] = [];
  const seen = new Set<string>();
  const pending = [{ folder, prefix: '' }];
  for (let next = pending.pop(); next; next = pending.pop()) {
    const real = await realpath(next.folder);
    if (seen.has(real)) continue;
    seen.add(real);
    const entries = await fastGlob('**/*', {
      cwd: next.folder,
      followSymbolicLinks: false,
      onlyFiles: false,
      objectMode: true,
      suppressErrors: false,
    });
    for (const { path, dirent } of entries) {
      const [full, name] = [join(next.folder, path), next.prefix + path];
      if (dirent.isSymbolicLink()) {
        // A link to nowhere is no file.
        const target = await stat(full).catch(() => null);
        if (target?.isDirectory()) pending.push({ folder: full, prefix: `${name}/` });
        else if (target?.isFile() && hasEnding(name, kind)) found.push({ path: full, name });
      } else if (dirent.isDirectory()) {
        seen.add(join(real, path));
      } else if (dirent.isFile() && hasEnding(name, kind)) {
        found.push({ path: full, name });
      }
    }
  }
  return found.sort(byName);
}

/**
 * Files of a list: one path per line, relative to the list's folder, optionally followed by a tab and a class.
 * Empty lines and lines that start with # are skipped.
 */
export async function readFileList(file: string): Promise<FoundFile[]> {
  const lines = (await readFile(file, 'utf8')).replace(/^\uFEFF/, '').split(/\r?\n/);
  return lines
    .filter((line) => line.trim() !== '' && !line.startsWith('#'))
    .map((line) => {
      const [name = '', className] = line.split('\t');
      return { path: resolve(dirname(file), name), name, className: className?.trim() || undefined };
    });
}

/** What a user's path stands for. */
export interface FoundInput {
  files: FoundFile[];
  /** Whether the names are those of a folder tree, so that folders may be classes. */
  tree: boolean;
}

/**
 * The files that a user's path stands for: a folder, a list of files (.txt), or one file.
 * @throws D2vError if there is nothing there
 */
export async function findInput(path: string, kind: FileKind): Promise<FoundInput> {
  const info = await stat(path).catch(() => null);
  if (!info) throw new D2vError(`${path}: no such file or folder`);
  // A pipe would be waited for without end.
  if (!info.isFile() && !info.isDirectory()) throw new D2vError(`${path} is neither a file nor a folder`);
  try {
    if (info.isDirectory()) return { files: await findFiles(path, kind), tree: true };
    if (extname(path).toLowerCase() === LIST_ENDING) return { files: await readFileList(path), tree: false };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === undefined) throw error;
    throw new D2vError(`cannot read ${(error as NodeJS.ErrnoException).path ?? path} (${code})`, {
      cause: error,
    });
  }
  return { files: [{ path, name: basename(path) }], tree: false };
}
