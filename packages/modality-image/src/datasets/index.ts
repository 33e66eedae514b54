/** What a run's `data` section names: a built-in dataset, a prepared one, tar shards, or files of the user's own. */
import {
  D2vError,
  type DataConfig,
  type DataSource,
  didYouMean,
  findShardParts,
  joinSources,
  type OpenDataOptions,
  type OpenInputsOptions,
} from '@d2v/core';
import type { ImageDataConfig } from '../data-config.js';
import { digits } from './digits.js';
import { emoji } from './emoji.js';
import { IMAGES, openFiles, openFolder } from './folder.js';
import { type ManagedImages, managed, openManaged } from './managed.js';
import { packedSource } from './packed.js';
import { openPrepared, type PreparedDataset } from './prepared.js';
import { openShards } from './shards.js';

/** Small ones, fetched when they are opened. */
export const builtIn = { digits, emoji } satisfies Record<string, PreparedDataset>;

/** All datasets by name. */
export const datasets: Record<string, PreparedDataset | ManagedImages> = {
  ...builtIn,
  ...Object.fromEntries(managed.map((dataset) => [dataset.name, dataset])),
};

/** Used when neither data.path nor data.dataset is given. */
export const DEFAULT_DATASET = digits.name;

/** The dataset of that name. @throws D2vError naming the nearest one */
export function datasetOf(name: string): PreparedDataset | ManagedImages {
  const dataset = Object.hasOwn(datasets, name) ? datasets[name] : undefined;
  if (!dataset)
    throw new D2vError(`there is no dataset "${name}"${didYouMean(name, Object.keys(datasets), 20)}`);
  return dataset;
}

/** Opens what the user names (`d2v embed`), in that order: files, folders and tar shards, all of their samples. */
export async function openImageInputs(
  paths: readonly string[],
  data: ImageDataConfig & DataConfig,
  { cacheDir, log = () => {} }: OpenInputsOptions,
): Promise<DataSource> {
  if (paths.length === 0) return openFiles(paths, data);
  const sources: DataSource[] = [];
  try {
    let files: string[] = [];
    const takeFiles = async () => {
      if (files.length > 0) sources.push(await openFiles(files, data));
      files = [];
    };
    for (const path of paths) {
      const shards = await findShardParts({ path, valid_path: null }, IMAGES);
      if (!shards) files.push(path);
      else {
        await takeFiles();
        sources.push(await openShards(shards, { name: path }, data, { split: 'all', cacheDir, log }));
      }
    }
    await takeFiles();
  } catch (error) {
    for (const source of sources) await source.close?.();
    throw error;
  }
  return joinSources(paths.join(', '), sources);
}

/** Opens `data.path`, or else the dataset. */
export async function openImageData(
  data: ImageDataConfig & DataConfig,
  options: OpenDataOptions,
): Promise<DataSource> {
  const { path } = data;
  if (path) {
    const shards = await findShardParts({ ...data, path }, IMAGES);
    return shards
      ? openShards(shards, { name: path }, data, options)
      : openFolder({ ...data, path }, options);
  }
  const dataset = datasetOf(data.dataset ?? DEFAULT_DATASET);
  if ('source' in dataset) return packedSource(await openPrepared(dataset, options), options.split, data);
  return openManaged(dataset, data, options);
}
