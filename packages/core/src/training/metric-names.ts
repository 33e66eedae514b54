import { type AnyConfig, modalitiesOf } from '../config/joint.js';

/** Behind the metrics of an update or an evaluation of one modality: nothing in a run of one, `_image` in a run of several. */
export function metricSuffix(config: AnyConfig, modality: string): string {
  return modalitiesOf(config).length > 1 ? `_${modality}` : '';
}

/** Metrics under the names that they have in the log. */
export function suffixed(
  metrics: Readonly<Record<string, number>>,
  config: AnyConfig,
  modality: string,
): Record<string, number> {
  const suffix = metricSuffix(config, modality);
  if (suffix === '') return { ...metrics };
  // The model's own names of some losses begin with the key of the modality: once is enough.
  const key = `${modality.toUpperCase()}_`;
  return Object.fromEntries(
    Object.entries(metrics).map(([name, value]) => [`${name.replace(key, '')}${suffix}`, value]),
  );
}
