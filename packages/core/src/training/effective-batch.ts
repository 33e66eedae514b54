import type { RunConfig } from '../config/schema.js';

/** Samples of one update. */
export function samplesPerUpdate(config: RunConfig): number {
  return config.data.batch_size * config.optimization.update_freq;
}

/**
 * The line that settles what a "batch" is: samples, masks per sample, accumulation, and what that makes of an epoch and
 * of the run.
 * @param epochSize samples of an epoch
 */
export function describeEffectiveBatch(config: RunConfig, epochSize: number): string {
  const { batch_size: size } = config.data;
  const { update_freq: times, max_update: updates } = config.optimization;
  const masks = config.model.clone_batch;
  const samples = samplesPerUpdate(config);
  const product = times > 1 ? `${samples} samples (${size} x ${times} accumulated)` : `${samples} samples`;
  const run =
    updates === null ? '' : `; the run: ${updates} updates = ${trim((updates * samples) / epochSize)} epochs`;
  return (
    `one update: ${product} x ${masks} ${masks === 1 ? 'mask' : 'masks'} = ${samples * masks} masked views; ` +
    `one epoch: ${epochSize} samples = ${trim(epochSize / samples)} updates${run}`
  );
}

const trim = (value: number) => String(Number(value.toPrecision(3)));
