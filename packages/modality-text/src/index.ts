/** The text modality: tokens of byte-pair encodings. */
import { D2vError, defineModality, z } from '@d2v/core';
import { textConfigSchema } from './config.js';
import { TextEncoder } from './encoder.js';
import { presets } from './presets.js';

const soon = async () => {
  throw new D2vError('reading text is not there yet');
};

export default defineModality({
  name: 'text',
  // The number of the contract this was written for, not the constant of whichever core is installed.
  api: 1,
  moduleUrl: import.meta.url,
  configSchema: textConfigSchema,
  dataSchema: z.strictObject({}),
  presets,
  supports: { padding: true },
  createEncoder: (context) => new TextEncoder(context),
  openData: soon,
  openInputs: soon,
  collate: () => {
    throw new D2vError('reading text is not there yet');
  },
  datasets: {},
});
