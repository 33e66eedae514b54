import type { DeepPartial, RunConfigInput } from '@d2v/core';
import type { AudioDataConfig } from './data-config.js';
import { DEFAULT_DATASET, suggestedFor } from './datasets/index.js';

/** A dataset brings the clip lengths that suit it. Without a path, the data is the default dataset. */
export function suggestSettings(settings: DeepPartial<RunConfigInput>): DeepPartial<RunConfigInput> {
  if (settings.data?.path) return {};
  const dataset = settings.data?.dataset ?? DEFAULT_DATASET;
  const data: DeepPartial<RunConfigInput['data'] & AudioDataConfig> = { dataset, ...suggestedFor(dataset) };
  return { data };
}
