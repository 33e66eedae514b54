import { D2vError } from '../errors.js';
import type { Modality } from '../modality/contract.js';
import { leafKeys } from './introspect.js';
import type { Layer } from './layer.js';
import { valueAt } from './merge.js';
import { overrideConfig } from './resolve.js';
import { type RunConfig, runConfigSchema } from './schema.js';
import type { Assignment } from './set.js';

/** What a run may change when it goes on: when it ends, how it is saved and observed, where it computes. */
const FREE = [
  /^(stop|checkpoint|eval)\./,
  /^optimization\.max_update$/,
  /^common\.(device|threads|log_interval|tensorboard)$/,
  /^data\.(path|valid_path|num_workers|prefetch|worker_timeout_seconds|max_bad_share|cache_dir|offline)$/,
];

/**
 * The config of a run that goes on, with the user's new settings.
 * @throws D2vError if a setting would make it another run
 */
export function resumeConfig(
  modality: Modality,
  stored: RunConfig,
  changes: { layers?: readonly Layer[]; set?: readonly (string | Assignment)[] },
): RunConfig {
  const config = overrideConfig(modality, stored, changes);
  for (const key of leafKeys(runConfigSchema(modality))) {
    if (FREE.some((pattern) => pattern.test(key))) continue;
    const path = key.split('.');
    const [before, after] = [valueAt(stored, path), valueAt(config, path)].map((value) =>
      JSON.stringify(value),
    );
    if (before === after || before?.startsWith('{')) continue;
    throw new D2vError(
      `a resumed run keeps ${key} (${before}, not ${after}): leave it out, or start a new run in another folder`,
    );
  }
  return config;
}
