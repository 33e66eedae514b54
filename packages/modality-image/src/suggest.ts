import type { DeepPartial, RunConfigInput } from '@d2v/core';
import type { ImageConfig } from './config.js';
import type { ImageDataConfig } from './data-config.js';
import { DEFAULT_DATASET, datasets } from './datasets/index.js';

/**
 * Settings that follow from others: pictures get the size that the model expects, and a built-in dataset brings the
 * augmentation and the pixel statistics that suit it. Without a path, the data is the default dataset.
 */
export function suggestSettings(settings: DeepPartial<RunConfigInput>): DeepPartial<RunConfigInput> {
  const data: DeepPartial<RunConfigInput['data'] & ImageDataConfig> = {};
  if (!settings.data?.path) {
    data.dataset = settings.data?.dataset ?? DEFAULT_DATASET;
    if (Object.hasOwn(datasets, data.dataset)) Object.assign(data, datasets[data.dataset]!.suggested);
  }
  const image = settings.model?.modalities?.image as Partial<ImageConfig> | undefined;
  if (image?.input_size !== undefined) data.input_size = image.input_size;
  return { data };
}
