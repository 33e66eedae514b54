/** Built-in datasets: fetched on first use and kept in the cache folder as JSONL, which is then read like a user's own. */
import { access, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  type DatasetInfo,
  type DeepPartial,
  explainCacheError,
  type OpenDataOptions,
  type PinnedPackage,
  readTarball,
  withPackage,
  writeFileAtomic,
} from '@d2v/core';
import type { TextDataConfig } from '../data-config.js';

/** One text of a dataset, with its class. */
export interface TextRecord {
  text: string;
  label: string;
}

/** A built-in dataset: everything that differs from one to the next. */
export interface BuiltInText extends DatasetInfo {
  name: string;
  /** Raise it when `records` gives something else: older cache files are then left alone. */
  version: number;
  source: PinnedPackage;
  /** Share that is held out. */
  validShare: number;
  /** How it is read, whatever the settings say of the user's own data. */
  fixed: Partial<TextDataConfig>;
  /** Settings of the `data` section that suit it; what the user says goes before. */
  suggested: DeepPartial<TextDataConfig>;
  /** The dataset that features learned from it are scored on; null = itself. */
  scoredOn: string | null;
  /** Which files of the package are needed (paths inside it). */
  wants(path: string): boolean;
  records(files: ReadonlyMap<string, Buffer>): Iterable<TextRecord>;
}

/**
 * The path of a dataset's file, fetching it first if need be.
 * @throws D2vError with the remedy if it can be neither read nor fetched
 */
export async function fetchText(
  dataset: BuiltInText,
  options: Pick<OpenDataOptions, 'cacheDir' | 'offline' | 'log'>,
): Promise<string> {
  const path = join(options.cacheDir, 'text', `${dataset.name}-${dataset.version}.jsonl`);
  try {
    if (await exists(path)) return path;
    await withPackage(dataset.source, options, async (tarball) => {
      const files = await readTarball(tarball, (name) => dataset.wants(name));
      const lines = Array.from(dataset.records(files), (record) => `${JSON.stringify(record)}\n`);
      await mkdir(dirname(path), { recursive: true });
      await writeFileAtomic(path, lines.join(''));
      options.log(`prepared ${dataset.name}: ${lines.length} texts (${dataset.license})`);
    });
  } catch (error) {
    throw explainCacheError(error, options.cacheDir);
  }
  return path;
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
