/** The audio modality: transformers on the raw waveform, on files of many kinds and on two datasets. */
import { defineModality } from '@d2v/core';
import { logMelStatistics } from './baseline.js';
import { collateClips } from './collate.js';
import { audioConfigSchema } from './config.js';
import { audioDataSchema } from './data-config.js';
import { datasets, openAudioData, openNamed } from './datasets/index.js';
import { AudioEncoder } from './encoder.js';
import { presets } from './presets.js';
import { suggestSettings } from './suggest.js';

export default defineModality({
  name: 'audio',
  // The number of the contract this was written for, not the constant of whichever core is installed.
  api: 1,
  moduleUrl: import.meta.url,
  configSchema: audioConfigSchema,
  dataSchema: audioDataSchema,
  presets,
  defaultPreset: 'tiny',
  supports: { padding: true, labels: true },
  sizeUnit: 'seconds',
  createEncoder: (context) => new AudioEncoder(context),
  openData: openAudioData,
  openInputs: openNamed,
  collate: collateClips,
  datasets,
  suggest: suggestSettings,
  baseline: { name: 'log-mel statistics', features: logMelStatistics },
});
