/** Two copies of core in one process do not work together: schemas and tensors of one mean nothing to the other. */
import { realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { D2vError } from '../errors.js';
import { ancestors, readPackage } from './discovery.js';

const CORE = '@d2v/core';

/**
 * Looks, without importing anything, which core a plugin would import.
 * @param url of the plugin's entry
 * @throws D2vError if it is another copy than this one
 */
export async function checkSameCore(url: string, label: string): Promise<void> {
  if (!url.startsWith('file:')) return;
  const entry = fileURLToPath(url);
  const theirs = await coreSeenFrom(dirname(await realpath(entry).catch(() => entry)));
  const ours = await ownFolder();
  if (theirs === undefined || ours === undefined || theirs === ours) return;
  throw new D2vError(
    `plugin ${label} uses another copy of ${CORE} (${theirs}) than this program (${ours}): run the d2v that is installed beside the plugin, or install both in one project (npm dedupe)`,
  );
}

/** The folder that `import '@d2v/core'` finds from a folder, links resolved; undefined if there is none. */
async function coreSeenFrom(start: string): Promise<string | undefined> {
  for (const dir of ancestors(start)) {
    const folder = join(dir, 'node_modules', CORE);
    if (await readPackage(folder)) return realpath(folder);
  }
  return undefined;
}

/** The folder of the package that this code is part of; undefined if it was bundled into another program. */
async function ownFolder(): Promise<string | undefined> {
  for (const dir of ancestors(dirname(fileURLToPath(import.meta.url)))) {
    const pkg = await readPackage(dir);
    if (pkg) return pkg.name === CORE ? realpath(dir) : undefined;
  }
  return undefined;
}
