/** Where audio comes from: datasets by name, or the user's own files. */
import { D2vError, type DataSource, type DatasetInfo, didYouMean, type OpenDataOptions } from '@d2v/core';
import type { AudioDataset } from './dataset.js';
import { type AudioData, openPath } from './files.js';
import { instruments } from './instruments.js';
import { librispeech } from './librispeech.js';
import { type ManagedAudio, openManaged } from './managed.js';
import { notes } from './notes.js';
import { prompts } from './prompts.js';
import { speechCommands } from './speech-commands.js';

export { AUDIO, openNamed } from './files.js';

/** Small ones, which come when they are opened. */
const small = new Map<string, AudioDataset>([notes, instruments, prompts].map((set) => [set.name, set]));

/** Those that are prepared first. */
const managed = new Map<string, ManagedAudio>(
  [librispeech, speechCommands].map((set) => [set.dataset.name, set]),
);

/** By name. */
export const datasets: Record<string, DatasetInfo> = Object.fromEntries([
  ...small,
  ...[...managed].map(([name, { dataset }]) => [name, dataset]),
]);

/** Settings of the `data` section that suit a dataset. */
export const suggestedFor = (name: string) => (small.get(name) ?? managed.get(name))?.suggested;

/** Used when neither data.path nor data.dataset is given. */
export const DEFAULT_DATASET = notes.name;

/** Opens `data.path`, or else the dataset of that name. */
export async function openAudioData(data: AudioData, options: OpenDataOptions): Promise<DataSource> {
  const { path } = data;
  if (path) return openPath({ ...data, path }, options);
  const name = data.dataset ?? DEFAULT_DATASET;
  const prepared = managed.get(name);
  if (prepared) return openManaged(prepared, data, options);
  const dataset = datasetOf(name);
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
  const dataset = small.get(name);
  if (dataset) return dataset;
  throw new D2vError(`there is no dataset "${name}"${didYouMean(name, Object.keys(datasets), 20)}`);
}
