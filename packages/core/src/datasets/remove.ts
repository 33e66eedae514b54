import { readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { temporarySuffix } from '../training/atomic-file.js';
import { LOCK_FILE } from '../training/folder-lock.js';
import { rawFolder } from './folder/folder.js';
import { Manifest } from './folder/manifest.js';
import { explained } from './prepare.js';
import { startSession } from './session.js';
import type { DatasetOptions, ManagedDataset } from './types.js';

/**
 * Removes a dataset from the cache folder; files in folders of the user's are left alone.
 * @param what `raw`: only downloads, what is prepared stays usable
 * @returns whether there was anything
 */
export async function removeDataset(
  dataset: ManagedDataset,
  given: DatasetOptions = {},
  what: 'raw' | 'all' = 'all',
): Promise<boolean> {
  const session = startSession(dataset, given);
  const { folder } = session;
  if (!(await stat(folder).catch(() => null))) return false;
  return explained(session, async () => {
    return session.locked(async () => {
      // Another process may have removed it while this one waited.
      if ((await readdir(folder)).every((name) => name.startsWith(LOCK_FILE))) return false;
      if (what === 'raw') {
        const manifest = await Manifest.open(folder, dataset.name, dataset.license);
        await manifest.update((content) => {
          content.raw = Object.fromEntries(
            Object.entries(content.raw).filter(([, { path }]) => path !== undefined),
          );
        });
        await rm(rawFolder(folder), { recursive: true, force: true });
        return true;
      }
      // Out of the way first: nobody sees half a dataset.
      const aside = join(dirname(folder), `.${dataset.name}.${temporarySuffix()}`);
      await rename(folder, aside);
      await rm(aside, { recursive: true, force: true, maxRetries: 3 });
      return true;
    });
  });
}
