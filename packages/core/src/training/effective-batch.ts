import type { RunConfig } from '../config/schema.js';
import type { EpochContents } from '../data/update-sampler.js';

/**
 * The line that settles what a "batch" is: samples (or length), masks per sample, accumulation, and what that makes of an
 * epoch and of the run.
 * @param config as the modality sees it
 * @param unit of lengths, see `Modality.sizeUnit`
 * @param share of the run's updates that are of this modality
 */
export function describeEffectiveBatch(
  config: RunConfig,
  epoch: EpochContents,
  unit = 'units',
  share = 1,
): string {
  const { max_update: updates } = config.optimization;
  const run = updates === null ? '' : `; the run: ${describeRun(updates, share, epoch)}`;
  return `one update: ${describeUpdate(config, epoch, unit)}; one epoch: ${describeEpoch(epoch, unit)} = ${trim(epoch.updates)} updates${run}`;
}

function describeRun(updates: number, share: number, epoch: EpochContents): string {
  const own = Math.round(updates * share);
  const count = share < 1 ? `about ${own} of ${updates} updates` : `${updates} updates`;
  return `${count} = ${trim(own / epoch.updates)} epochs`;
}

function describeUpdate(config: RunConfig, epoch: EpochContents, unit: string): string {
  const { batch_size: size, batch_length: length } = config.data;
  const { update_freq: times } = config.optimization;
  const masks = config.model.clone_batch;
  const view = `${masks} ${masks === 1 ? 'mask' : 'masks'}`;
  const accumulated = (bound: number, what: string) =>
    times > 1
      ? `${trim(bound * times)} ${what} (${trim(bound)} x ${times} accumulated)`
      : `${trim(bound)} ${what}`;
  if (length === null) {
    const samples = size! * times;
    return `${accumulated(size!, 'samples')} x ${view} = ${samples * masks} masked views`;
  }
  const most = size === null ? '' : ` and ${size * times} samples`;
  const mean = epoch.samples / epoch.updates;
  return (
    `up to ${accumulated(length, unit)}${most}, on average ${trim(mean)} samples x ${view} = ` +
    `${trim(mean * masks)} masked views`
  );
}

function describeEpoch({ samples, length, padded }: EpochContents, unit: string): string {
  if (length === undefined || padded === undefined) return `${samples} samples`;
  const padding = Math.round(100 * (padded / length - 1));
  return `${samples} samples = ${trim(length)} ${unit} (${padding} % more with padding)`;
}

const trim = (value: number) =>
  value >= 1000 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
