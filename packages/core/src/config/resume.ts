import { D2vError } from '../errors.js';
import type { Modality } from '../modality/contract.js';
import { leafKeys } from './introspect.js';
import type { AnyConfig } from './joint.js';
import { valueAt } from './merge.js';
import { type Changes, type Modalities, overrideConfig } from './resolve.js';
import { type RunConfig, runConfigSchema } from './schema.js';

/** What a run may change when it goes on: when it ends, how fast it learns, how it is saved and observed, where it computes. */
const FREE = [
  /^(stop|checkpoint|eval)\./,
  // The way out of a divergence; what changes is said when the run goes on.
  /^optimization\.(max_update|lr|clip_norm)$/,
  /^lr_scheduler\.warmup_updates$/,
  /^common\.(device|cuda_graphs|tf32|threads|log_interval|tensorboard)$/,
  /^data\.([a-z0-9-]+\.)?(path|valid_path|num_workers|prefetch|worker_timeout_seconds|max_bad_share|cache_dir|offline)$/,
];

/**
 * The config of a run that goes on, with the user's new settings.
 * @throws D2vError if a setting would make it another run
 */
export function resumeConfig(modality: Modality, stored: RunConfig, changes: Changes): RunConfig;
export function resumeConfig(modalities: Modalities, stored: AnyConfig, changes: Changes): AnyConfig;
export function resumeConfig(modalities: Modalities, stored: AnyConfig, changes: Changes): AnyConfig {
  const config = overrideConfig(modalities, stored, changes);
  for (const key of leafKeys(runConfigSchema(modalities))) {
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
