import type { DeepPartial, RunConfigInput } from '@d2v/core';
import type { ImageConfig } from './config.js';
import { DEFAULT_DATASET, datasets } from './datasets/index.js';

/**
 * Settings that follow from others: pictures get the size that the model expects, and a built-in dataset brings the
 * augmentation and the pixel statistics that suit it. Without a path, the data is the default dataset.
 */
export function suggestSettings(settings: DeepPartial<RunConfigInput>): DeepPartial<RunConfigInput> {
  const image = settings.model?.modalities?.image as Partial<ImageConfig> | undefined;
  const size = image?.input_size === undefined ? {} : { input_size: image.input_size };
  if (settings.data?.path) return { data: size };
  const dataset = settings.data?.dataset ?? DEFAULT_DATASET;
  const suggested = Object.hasOwn(datasets, dataset) ? datasets[dataset]!.suggested : {};
  return { data: { dataset, ...suggested, ...size } };
}
