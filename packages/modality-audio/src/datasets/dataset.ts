/** What datasets known by name have in common: each one becomes a folder of audio files. */
import type { DatasetInfo, DeepPartial, OpenDataOptions, RunConfigInput } from '@d2v/core';
import type { AudioDataConfig } from '../data-config.js';

export interface AudioDataset extends DatasetInfo {
  name: string;
  /** Share of the files that is held out. */
  validShare: number;
  /** Settings of the `data` section that suit it; what the user says goes before. */
  suggested: DeepPartial<AudioDataConfig & RunConfigInput['data']>;
  /** The folder, fetched and prepared first if need be. @throws D2vError with the remedy if it cannot be had */
  folder(options: Pick<OpenDataOptions, 'cacheDir' | 'offline' | 'log'>): Promise<string>;
  /** What is said in the files, by path. */
  texts?(folder: string): Promise<Map<string, string>>;
}
