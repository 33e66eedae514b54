import { randomBytes } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Replaces a file so that a reader, or a power cut, sees the old or the new content whole, never a mixture: written
 * beside, flushed to the disk, renamed.
 */
export async function writeFileAtomic(path: string, data: string | Uint8Array): Promise<void> {
  const temporary = `${path}.${temporarySuffix()}`;
  try {
    await writeFileSynced(temporary, data);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(dirname(path));
}

/** Writes a new file and flushes it to the disk. */
export async function writeFileSynced(path: string, data: string | Uint8Array): Promise<void> {
  const file = await open(path, 'w');
  try {
    await file.writeFile(data);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Flushes the list of names of a folder, so that a rename in it survives a power cut. */
export async function syncFolder(path: string): Promise<void> {
  let folder: FileHandle | undefined;
  try {
    folder = await open(path, 'r');
    await folder.sync();
  } catch {
    // Windows and some network file systems cannot open or flush folders; there, renames are as durable as they get.
  } finally {
    await folder?.close();
  }
}

/** Ending of names that are not finished: `tmp-<pid>-<random>`. */
export function temporarySuffix(): string {
  return `tmp-${process.pid}-${randomBytes(4).toString('hex')}`;
}
