import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { D2vError } from '../../errors.js';

const ENDING = '.tar';
const MOST = 1e6;

/** Whether a path stands for several shards, and is no file itself. */
export const isShardRange = (path: string): boolean => /\{\d+\.\.\d+\}/.test(basename(path));

/**
 * The tar shards that a user's path names: one shard, a folder that holds shards (sorted by name), or a range in braces as
 * WebDataset writes it, `train-{000..146}.tar`. Null if it names something else.
 * @throws D2vError if a shard of a range is missing
 */
export async function findShards(path: string): Promise<string[] | null> {
  if (isShardRange(path)) return range(path);
  const info = await stat(path).catch(() => null);
  if (info?.isFile()) return path.toLowerCase().endsWith(ENDING) ? [path] : null;
  if (!info?.isDirectory()) return null;
  const names = (await readdir(path)).filter(
    (name) => name.toLowerCase().endsWith(ENDING) && !name.startsWith('.'),
  );
  return names.length > 0 ? names.sort().map((name) => join(path, name)) : null;
}

async function range(path: string): Promise<string[]> {
  const [, before = '', first = '', last = '', after = ''] =
    /^(.*)\{(\d+)\.\.(\d+)\}(.*)$/.exec(basename(path)) ?? [];
  const [from, to] = [Number(first), Number(last)];
  if (to < from || to - from >= MOST)
    throw new D2vError(`${path}: the range in braces must go up, by less than a million`);
  const shards: string[] = [];
  for (let i = from; i <= to; i++) {
    const shard = join(dirname(path), `${before}${String(i).padStart(first.length, '0')}${after}`);
    if (!(await stat(shard).catch(() => null))?.isFile())
      throw new D2vError(`${shard}: no such shard of ${path}`);
    shards.push(shard);
  }
  return shards;
}
