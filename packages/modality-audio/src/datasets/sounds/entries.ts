/** The files of a published archive, or of the folder that somebody has unpacked it to: one stream for both. */
import { readdir, readFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { type ArchiveEntry, readTar } from '@d2v/core';

/** A file of an archive or folder. */
export interface Entry {
  /** A relative path with `/`. */
  name: string;
  /** Where it lies by itself; null in an archive. */
  path: string | null;
  /** The content; of an archive only until the next entry is asked for. */
  read(): Promise<Buffer>;
}

/** Where a dataset's files come from. */
export type EntrySource = { archive: string } | { folder: string };

/** @throws ArchiveError for whatever should not be in an archive */
export async function* entriesOf(source: EntrySource, signal: AbortSignal): AsyncGenerator<Entry> {
  if ('archive' in source) {
    for await (const entry of readTar(source.archive, { signal })) yield archived(entry);
    return;
  }
  const found = await readdir(source.folder, { recursive: true, withFileTypes: true });
  const paths = found.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name));
  for (const path of paths.sort()) {
    signal.throwIfAborted();
    const name = relative(source.folder, path).split(sep).join('/');
    yield { name, path, read: () => readFile(path) };
  }
}

const archived = (entry: ArchiveEntry): Entry => ({
  name: entry.name,
  path: null,
  read: () => entry.read(),
});
