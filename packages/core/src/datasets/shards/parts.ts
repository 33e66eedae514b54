import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type FileKind, hasEnding } from '../../data/files/find.js';
import { dividedByName, HELD_OUT_NAMES } from '../../data/held-out.js';
import { D2vError } from '../../errors.js';
import type { DataConfig } from '../../modality/contract.js';
import { findShards } from './find.js';

/** Shards by part; without held-out ones, a share of the others is held out, by the names of samples. */
export interface ShardPaths {
  train: readonly string[];
  valid: readonly string[] | null;
}

/**
 * The shards that `data.path` and `data.valid_path` name; null if they name something else. Held-out shards are those of
 * `valid_path`, or of a folder `val` beside `train`, or those with such a word in their names where others have `train`.
 * @param kind a folder that holds such files, or folders, is not one of shards
 * @throws D2vError if `valid_path` names something else, or a shard of a range is missing
 */
export async function findShardParts(
  { path, valid_path: validPath }: Pick<DataConfig, 'valid_path'> & { path: string },
  kind: FileKind,
): Promise<ShardPaths | null> {
  const direct = await shardsOf(path, kind);
  const train = direct ?? (await shardsOf(join(path, 'train'), kind));
  if (!train) return null;
  if (validPath !== null) {
    const valid = await shardsOf(validPath, kind);
    if (valid) return { train, valid };
    throw new D2vError(`${validPath} (data.valid_path) holds no tar shards, ${path} does`);
  }
  if (direct) return dividedByName(direct, (shard) => basename(shard)) ?? { train, valid: null };
  for (const name of HELD_OUT_NAMES) {
    const valid = await shardsOf(join(path, name), kind);
    if (valid) return { train, valid };
  }
  return { train, valid: null };
}

/** Shards, unless they are archives that lie beside folders or files: a folder of images may hold a tar, too. */
async function shardsOf(path: string, kind: FileKind): Promise<string[] | null> {
  const shards = await findShards(path);
  if (!shards || (shards.length === 1 && shards[0] === path)) return shards;
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  const other = entries.some(
    (entry) => !entry.name.startsWith('.') && (entry.isDirectory() || hasEnding(entry.name, kind)),
  );
  return other ? null : shards;
}
