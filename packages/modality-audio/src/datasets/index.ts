/** Where audio comes from: datasets by name, or the user's own files. */
import { D2vError, type DataSource, didYouMean, type OpenDataOptions } from '@d2v/core';
import type { AudioDataset } from './dataset.js';
import { type AudioData, openPath } from './files.js';
import { instruments } from './instruments.js';
import { notes } from './notes.js';
import { prompts } from './prompts.js';

export { AUDIO, openNamed } from './files.js';

/** By name. */
export const datasets: Record<string, AudioDataset> = Object.fromEntries(
  [notes, instruments, prompts].map((set) => [set.name, set]),
);

/** Used when neither data.path nor data.dataset is given. */
export const DEFAULT_DATASET = notes.name;

/** Opens `data.path`, or else the dataset of that name. */
export async function openAudioData(data: AudioData, options: OpenDataOptions): Promise<DataSource> {
  const { path } = data;
  if (path) return openPath({ ...data, path }, options);
  const dataset = datasetOf(data.dataset ?? DEFAULT_DATASET);
  const folder = await dataset.folder(options);
  const texts = await dataset.texts?.(folder);
  const known = { name: dataset.name, license: dataset.license, textOf: (file: string) => texts?.get(file) };
  return openPath(
    { ...data, path: folder, valid_path: null, valid_share: dataset.validShare },
    options,
    known,
  );
}

function datasetOf(name: string): AudioDataset {
  const dataset = Object.hasOwn(datasets, name) ? datasets[name] : undefined;
  if (dataset) return dataset;
  throw new D2vError(`there is no dataset "${name}"${didYouMean(name, Object.keys(datasets), 20)}`);
}
