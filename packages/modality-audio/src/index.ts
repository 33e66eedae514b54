/** The audio modality: transformers on the raw waveform. */
import { D2vError, defineModality, z } from '@d2v/core';
import { audioConfigSchema } from './config.js';
import { AudioEncoder } from './encoder.js';
import { presets } from './presets.js';

const soon = async () => {
  throw new D2vError('reading audio is not there yet');
};

export default defineModality({
  name: 'audio',
  // The number of the contract this was written for, not the constant of whichever core is installed.
  api: 1,
  moduleUrl: import.meta.url,
  configSchema: audioConfigSchema,
  dataSchema: z.strictObject({}),
  presets,
  supports: { padding: true },
  createEncoder: (context) => new AudioEncoder(context),
  openData: soon,
  openInputs: soon,
  collate: () => {
    throw new D2vError('reading audio is not there yet');
  },
  datasets: {},
});
