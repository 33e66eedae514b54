/** Where images come from: built-in datasets by name, or the user's own files. */
import { D2vError, type DataConfig, type DataSource, didYouMean, type OpenDataOptions } from '@d2v/core';
import type { ImageDataConfig } from '../data-config.js';
import { digits } from './digits.js';
import { emoji } from './emoji.js';
import { openFolder } from './folder.js';
import { packedSource } from './packed.js';
import { openPrepared, type PreparedDataset } from './prepared.js';

export { openFiles } from './folder.js';

const BUILT_IN: readonly PreparedDataset[] = [digits, emoji];

/** The built-in datasets by name. */
export const datasets: Record<string, PreparedDataset> = Object.fromEntries(
  BUILT_IN.map((set) => [set.name, set]),
);

/** Used when neither data.path nor data.dataset is given. */
export const DEFAULT_DATASET = digits.name;

/** The built-in dataset of that name. @throws D2vError naming the nearest one */
export function datasetOf(name: string): PreparedDataset {
  const dataset = Object.hasOwn(datasets, name) ? datasets[name] : undefined;
  if (!dataset)
    throw new D2vError(`there is no dataset "${name}"${didYouMean(name, Object.keys(datasets), 20)}`);
  return dataset;
}

/** Opens `data.path`, or else the built-in dataset. */
export async function openImageData(
  data: ImageDataConfig & DataConfig,
  options: OpenDataOptions,
): Promise<DataSource> {
  const { path } = data;
  if (path) return openFolder({ ...data, path }, options);
  const dataset = datasetOf(data.dataset ?? DEFAULT_DATASET);
  return packedSource(await openPrepared(dataset, options), options.split, data);
}
