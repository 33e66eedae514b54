import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncFolder, temporarySuffix } from '../training/atomic-file.js';

/** A file that gets its name only when it is whole. */
export interface AtomicFile {
  readonly handle: FileHandle;
  /** Flushes it, gives it its name and flushes the folder. */
  commit(): Promise<void>;
  /** Removes it; does nothing after `commit`. */
  abort(): Promise<void>;
}

/** Opens a new file beside `path`; `path` itself is untouched until `commit`. */
export async function openAtomic(path: string): Promise<AtomicFile> {
  const temporary = `${path}.${temporarySuffix()}`;
  const handle = await open(temporary, 'wx');
  let done = false;
  const abort = async () => {
    if (done) return;
    done = true;
    await handle.close().catch(() => {});
    await rm(temporary, { force: true });
  };
  return {
    handle,
    abort,
    async commit() {
      try {
        await handle.sync();
        await handle.close();
        await rename(temporary, path);
        done = true;
      } finally {
        await abort();
      }
      await syncFolder(dirname(path));
    },
  };
}

/** Writes a file through a handle: it appears whole under its name, or not at all. */
export async function writeAtomically(
  path: string,
  write: (file: FileHandle) => Promise<void>,
): Promise<void> {
  const file = await openAtomic(path);
  try {
    await write(file.handle);
    await file.commit();
  } finally {
    await file.abort();
  }
}
