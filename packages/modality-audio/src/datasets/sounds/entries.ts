/** The files of a published archive, or of the folder that somebody has unpacked it to: one stream for both. */
import { readdir, readFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { type ArchiveEntry, type PrepareContext, readTar } from '@d2v/core';

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

/**
 * @param item what it is called where the progress is shown
 * @throws ArchiveError for whatever should not be in an archive
 */
export async function* entriesOf(
  source: EntrySource,
  { signal, progress }: Pick<PrepareContext<unknown>, 'signal' | 'progress'>,
  item: string,
): AsyncGenerator<Entry> {
  if ('archive' in source) {
    const onProgress = (done: number, total: number) => progress(item, done, total, 'bytes');
    for await (const entry of readTar(source.archive, { signal, onProgress })) yield archived(entry);
    return;
  }
  const found = await readdir(source.folder, { recursive: true, withFileTypes: true });
  const paths = found.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name));
  for (const [i, path] of paths.sort().entries()) {
    signal.throwIfAborted();
    progress(item, i + 1, paths.length, 'files');
    const name = relative(source.folder, path).split(sep).join('/');
    yield { name, path, read: () => readFile(path) };
  }
}

const archived = (entry: ArchiveEntry): Entry => ({
  name: entry.name,
  path: null,
  read: () => entry.read(),
});
