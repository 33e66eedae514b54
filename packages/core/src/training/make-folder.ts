import { mkdir, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { exists } from '../exists.js';
import { errorCode } from './fs-errors.js';

/** So many times it begins again because another process removes folders on the way. */
const TRIES = 10;

/**
 * `mkdir -p`, step by step. Node's recursive one never returns where the system answers ENOENT below a folder that exists
 * (`/proc`), and says ENOENT on a read-only disk.
 * @returns the topmost folder that had to be made, if any
 * @throws the system's error; EPERM where the file system makes no folders
 */
export async function makeFolder(path: string): Promise<string | undefined> {
  for (let tries = 1; ; tries++) {
    try {
      return await makeMissing(resolve(path));
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
      if (tries < TRIES) continue;
      const refused = new Error(`EPERM: its file system makes no folders, mkdir '${path}'`, { cause: error });
      throw Object.assign(refused, { code: 'EPERM' });
    }
  }
}

async function makeMissing(path: string): Promise<string | undefined> {
  const steps = [path];
  for (let at = dirname(path); at !== dirname(at) && !(await exists(at)); at = dirname(at)) steps.unshift(at);
  let first: string | undefined;
  for (const step of steps) {
    try {
      await mkdir(step);
      first ??= step;
    } catch (error) {
      const there = (await stat(step).catch(() => null))?.isDirectory();
      if (errorCode(error) !== 'EEXIST' || !there) throw error;
    }
  }
  return first;
}
