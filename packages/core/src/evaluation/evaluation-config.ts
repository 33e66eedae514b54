import { dataLayer } from '../config/data-layer.js';
import { objectLayer } from '../config/layer.js';
import { overrideConfig } from '../config/resolve.js';
import type { RunConfig } from '../config/schema.js';
import type { Modality } from '../modality/contract.js';

/**
 * The config that labelled samples are opened with: where `eval.data` names other data than the training's, its `data`
 * section says so. Everything that shapes a sample stays as in training, but for `eval.data_options`.
 * @returns the same object if `eval.data` is null
 * @throws D2vError if there is no such dataset, file or folder, or an option does not exist
 */
export async function evaluationConfig(modality: Modality, config: RunConfig): Promise<RunConfig> {
  const { data, data_options } = config.eval;
  if (data === null) return config;
  // What a dataset can be told is its own affair.
  const same = config.data.path === null && config.data.dataset === data;
  const base = same ? config : { ...config, data: { ...config.data, dataset_options: {} } };
  return overrideConfig(modality, base, {
    layers: [
      objectLayer({ data: { valid_path: null, limit: 0 } }, 'eval.data'),
      await dataLayer(modality, data, 'eval.data'),
      objectLayer({ data: data_options }, 'eval.data_options'),
    ],
  });
}
