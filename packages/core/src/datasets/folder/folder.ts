import { rmdir, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { isAbsolute, join, resolve, sep } from 'node:path';
import { D2vError } from '../../errors.js';
import { dataCacheDir } from '../../modality/cache-dir.js';
import { FolderLock, LOCK_FILE, type LockOwner } from '../../training/folder-lock.js';
import { errorCode } from '../../training/fs-errors.js';
import { makeFolder } from '../../training/make-folder.js';
import { pause } from '../download/backoff.js';

const POLL_SECONDS = 0.25;
/** How often it is said again that another process is waited for. */
const REMIND_MS = 60_000;

/** The folder of a dataset: `<cache>/datasets/<name>`. */
export const datasetFolder = (name: string, cacheDir?: string): string =>
  join(dataCacheDir(cacheDir), 'datasets', name);

/** Downloaded files. */
export const rawFolder = (folder: string): string => join(folder, 'raw');

/** Prepared files of one set of options. */
export const variantFolder = (folder: string, variant: string): string => join(folder, 'prepared', variant);

/** A name from a manifest or a dataset as a path below a folder. @throws D2vError if it would lead out of it */
export function inside(folder: string, name: string): string {
  const path = resolve(folder, name);
  if (!isAbsolute(name) && !name.includes('\\') && path.startsWith(resolve(folder) + sep)) return path;
  throw new D2vError(`the file name "${name}" does not stay in ${folder}`);
}

/** Size of a file; null if there is none. */
export async function fileSize(path: string): Promise<number | null> {
  const info = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return null;
    throw error;
  });
  return info?.isFile() ? info.size : null;
}

/**
 * When a file that is there was last changed, in ms. Not the time that programs may set at will (`touch -r`, `cp -p`), except
 * on Windows, where the other one also changes without the content.
 */
export async function changeTime(path: string): Promise<number> {
  const { ctimeMs, mtimeMs } = await stat(path);
  return process.platform === 'win32' ? mtimeMs : ctimeMs;
}

/**
 * Calls `work` while no other process works on the dataset; waits for one that does, and says so.
 * @throws D2vError when the folder cannot be written
 */
export async function withLock<T>(
  folder: string,
  name: string,
  { log, signal }: { log: (message: string) => void; signal?: AbortSignal },
  work: () => Promise<T>,
): Promise<T> {
  let said = -Infinity;
  for (;;) {
    const lock = await acquire(folder);
    if (lock === null) {
      signal?.throwIfAborted();
      continue;
    }
    if (lock instanceof FolderLock) {
      try {
        return await work();
      } finally {
        await lock.release();
        // A folder in which nothing came to be is not left behind.
        await rmdir(folder).catch(() => undefined);
      }
    }
    const now = performance.now();
    if (now - said >= REMIND_MS) {
      said = now;
      const elsewhere =
        lock.host === hostname() ? '' : ` on ${lock.host} (if it is dead, delete ${join(folder, LOCK_FILE)})`;
      log(`process ${lock.pid}${elsewhere} is working on ${name} since ${lock.started}: waiting for it`);
    }
    await pause(POLL_SECONDS, signal);
  }
}

/** The lock or who has it; null when the folder was removed meanwhile (`d2v data rm`): then it is to be tried again. */
async function acquire(folder: string): Promise<FolderLock | LockOwner | null> {
  await makeFolder(folder);
  try {
    return await FolderLock.acquire(folder, 'dataset folder');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    throw error;
  }
}
