/** What the work on one dataset needs, made of what the caller has said. */
import { availableParallelism } from 'node:os';
import { datasetFolder, withLock } from './folder/folder.js';
import { type ChosenOptions, chooseOptions } from './options.js';
import type { DatasetEvent, DatasetOptions, ManagedDataset } from './types.js';

export interface Session {
  dataset: ManagedDataset;
  given: DatasetOptions;
  chosen: ChosenOptions;
  folder: string;
  threads: number;
  signal: AbortSignal;
  /** What named the mirror, for messages. */
  mirrorSource: string;
  emit(event: DatasetEvent): void;
  log(message: string): void;
  warn(message: string): void;
  /** Does something while no other process works on the dataset. */
  locked<T>(work: () => Promise<T>): Promise<T>;
}

/** The environment variable that holds a dataset's mirror: others see the words of a command, credentials in them, too. */
export const mirrorVariable = (name: string): string =>
  `D2V_MIRROR_${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}`;

/** @throws D2vError for options that the dataset does not have */
export function startSession(dataset: ManagedDataset, options: DatasetOptions): Session {
  const variable = mirrorVariable(dataset.name);
  const mirror = options.mirror ?? (process.env[variable] || undefined);
  const given = { ...options, mirror };
  const emit = (event: DatasetEvent) => given.on?.(event);
  const log = (message: string) => emit({ type: 'info', message });
  const folder = datasetFolder(dataset.name, given.cacheDir);
  return {
    dataset,
    given,
    chosen: chooseOptions(dataset, given.options),
    folder,
    mirrorSource: options.mirror === undefined ? `the environment variable ${variable}` : '--mirror',
    threads: given.threads ?? availableParallelism(),
    signal: given.signal ?? new AbortController().signal,
    emit,
    log,
    warn: (message) => emit({ type: 'warning', message }),
    locked: (work) => withLock(folder, dataset.name, { log, signal: given.signal }, work),
  };
}
