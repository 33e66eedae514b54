import { type AnyConfig, modalitiesOf, viewOf } from '../config/joint.js';
import type { RunConfig } from '../config/schema.js';
import { isManaged } from '../datasets/define.js';
import { ensureDataset } from '../datasets/open.js';
import type { DatasetOptions, ManagedDataset } from '../datasets/types.js';
import { dataCacheDir } from '../modality/cache-dir.js';
import type { Modality } from '../modality/contract.js';

/** How a run is to download and prepare the datasets that its config names. */
export type RunDatasetOptions = Omit<DatasetOptions, 'options' | 'cacheDir'>;

/**
 * Downloads and prepares the datasets that a config names, as far as they are not there.
 * @throws D2vError in one line with the remedy, also when terms are to be accepted first
 */
export async function ensureRunDatasets(
  config: AnyConfig,
  modalities: readonly Modality[],
  given: RunDatasetOptions = {},
): Promise<void> {
  for (const name of modalitiesOf(config)) {
    const modality = modalities.find((one) => one.name === name);
    if (!modality) continue;
    const view = viewOf(config, name);
    for (const [dataset, options] of datasetsOf(view, modality)) {
      const { cache_dir: cacheDir, offline } = view.data;
      await ensureDataset(dataset, {
        ...given,
        offline: given.offline ?? offline,
        cacheDir: dataCacheDir(cacheDir),
        options,
      });
    }
  }
}

/** The managed datasets of a run's training and evaluation data, with their options. */
function datasetsOf(view: RunConfig, modality: Modality): [ManagedDataset, Record<string, unknown>][] {
  const found: [ManagedDataset, Record<string, unknown>][] = [];
  const add = (name: string | null, options: unknown) => {
    const dataset =
      name !== null && Object.hasOwn(modality.datasets, name) ? modality.datasets[name] : undefined;
    if (isManaged(dataset)) found.push([dataset, (options ?? {}) as Record<string, unknown>]);
  };
  const { data, eval: evaluation } = view;
  if (data.path === null) add(data.dataset, data.dataset_options);
  add(evaluation.data, evaluation.data_options.dataset_options);
  return found;
}
