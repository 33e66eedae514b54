import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

const STALE_AFTER_MS = 24 * 60 * 60 * 1000;

/**
 * Removes what killed processes have left of their work in a folder: entries whose name `isWork` knows and that were not
 * touched for a day, so that no work in progress is among them.
 */
export async function removeStale(folder: string, isWork: (name: string) => boolean): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!isWork(name)) continue;
    const path = join(folder, name);
    const info = await stat(path).catch(() => null);
    if (info && Date.now() - info.mtimeMs > STALE_AFTER_MS) await rm(path, { recursive: true, force: true });
  }
}
