import type { DataSource, Modality } from '../modality/contract.js';
import type { SourceSpec } from './protocol.js';

/** Opens what a `SourceSpec` names. Loader threads are silent: the main thread has opened the same data before. */
export function openSource(
  modality: Modality,
  spec: SourceSpec,
  log: (message: string) => void = () => {},
): Promise<DataSource> {
  const { open, data } = spec;
  const { cacheDir, assets } = open;
  if (open.kind === 'inputs') return modality.openInputs(open.paths, data, { cacheDir, assets, log });
  const { split, offline } = open;
  return modality.openData(data, { split, cacheDir, offline, assets, log });
}
