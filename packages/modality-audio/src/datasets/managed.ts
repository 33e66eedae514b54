/** Datasets that `d2v data` downloads and prepares: tables of sounds in shards. */
import { join } from 'node:path';
import {
  classNames,
  D2vError,
  type DataSource,
  type DataSplit,
  type DeepPartial,
  type ManagedDataset,
  type OpenDataOptions,
  openDataset,
  type ReadyDataset,
  type RunConfigInput,
} from '@d2v/core';
import type { AudioDataConfig } from '../data-config.js';
import { type AudioData, clipsOf } from './files.js';
import { type SoundRow, SoundTable } from './sounds/table.js';

/** The sounds of one part of the data. */
export interface PartOfTables {
  /** Names below the folder of the prepared files. */
  tables: readonly string[];
  /** Rows that belong to it; left out: all. */
  keep?(row: SoundRow): boolean;
}

export interface ManagedAudio {
  dataset: ManagedDataset;
  /** Settings of the `data` section that suit it; what the user says goes before. */
  suggested: DeepPartial<AudioDataConfig & RunConfigInput['data']>;
  /** Which of what is prepared is learned from, and which is held out. */
  parts(ready: ReadyDataset, part: DataSplit, data: AudioData): PartOfTables;
}

/** @throws D2vError with the command that prepares it, if it is not */
export async function openManaged(
  { dataset, parts }: ManagedAudio,
  data: AudioData,
  options: OpenDataOptions,
): Promise<DataSource> {
  const ready = await openDataset(dataset, { cacheDir: options.cacheDir, options: data.dataset_options });
  const { tables, keep } = parts(ready, options.split, data);
  const files = tables.flatMap((table) => SoundTable.open(join(ready.folder, table), data.sample_rate, keep));
  if (files.length === 0) {
    const splits = ready.splits.join(', ');
    throw new D2vError(
      `${dataset.name}: no sounds of ${splits} fall into the ${options.split} part; prepare more splits, or set another data.valid_share`,
    );
  }
  options.log(`${files.length} sounds (${options.split}) of ${dataset.name} from ${ready.folder}`);
  const classes = data.label === 'none' ? [] : classNames(files);
  return clipsOf(files, classes, data, options, { name: dataset.name, license: dataset.license });
}
