import { D2vError } from '../errors.js';
import type { DatasetInfo } from '../modality/contract.js';
import type { ManagedDataset } from './types.js';

const NAME = /^[a-z0-9][a-z0-9._-]*$/;

/**
 * Checks and returns a dataset.
 * @throws D2vError if a part is missing or of the wrong type
 */
export function defineDataset<O>(dataset: ManagedDataset<O>): ManagedDataset<O> {
  const fail = (what: string): never => {
    throw new D2vError(`dataset "${String(dataset?.name ?? '?')}": ${what}`);
  };
  if (typeof dataset?.name !== 'string' || !NAME.test(dataset.name)) {
    fail('name must be lower case letters, digits, dots and dashes');
  }
  if (!Number.isInteger(dataset.version) || dataset.version < 1)
    fail('version must be a whole number from 1');
  for (const key of ['description', 'license', 'size', 'terms'] as const) {
    if (typeof dataset[key] !== 'string' || dataset[key] === '') fail(`${key} must be a text`);
  }
  if (typeof dataset.options?.safeParse !== 'function') fail("options must be a schema made with core's z");
  for (const key of ['files', 'prepare'] as const) {
    if (typeof dataset[key] !== 'function') fail(`${key} must be a function`);
  }
  for (const split of Object.keys(dataset.splits ?? {})) {
    if (!NAME.test(split)) fail(`split "${split}" must be lower case letters, digits, dots and dashes`);
  }
  return dataset;
}

/** Whether a dataset of a modality is one that `d2v data` downloads and prepares. */
export function isManaged(info: DatasetInfo | undefined): info is ManagedDataset {
  const candidate = info as Partial<ManagedDataset> | undefined;
  return typeof candidate?.prepare === 'function' && typeof candidate.files === 'function';
}
