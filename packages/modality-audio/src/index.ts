/** The audio modality: transformers on the raw waveform, on files of many kinds, tar shards and datasets. */
import { defineModality, hasEnding } from '@d2v/core';
import { logMelStatistics } from './baseline.js';
import { collateClips } from './collate.js';
import { audioConfigSchema } from './config.js';
import { audioDataSchema } from './data-config.js';
import { AUDIO, datasets, openAudioData, openNamed } from './datasets/index.js';
import { AudioEncoder } from './encoder.js';
import { jointPresets, presets } from './presets.js';
import { suggestSettings } from './suggest.js';

export { librispeechWith, type PublishedSplit } from './datasets/librispeech.js';
export { speechCommandsWith } from './datasets/speech-commands.js';

export default defineModality({
  name: 'audio',
  // The number of the contract this was written for, not the constant of whichever core is installed.
  api: 1,
  moduleUrl: import.meta.url,
  configSchema: audioConfigSchema,
  dataSchema: audioDataSchema,
  presets,
  jointPresets,
  defaultPreset: 'tiny',
  supports: { padding: true, labels: true },
  sizeUnit: 'seconds',
  createEncoder: (context) => new AudioEncoder(context),
  openData: openAudioData,
  openInputs: openNamed,
  accepts: (file) => hasEnding(file, AUDIO),
  collate: collateClips,
  datasets,
  suggest: suggestSettings,
  baseline: { name: 'log-mel statistics', features: logMelStatistics },
});
