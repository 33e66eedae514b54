/** A modality that does nothing, for tests of config and registry. */
import { z } from 'zod';
import { modalityConfigShape } from '../data2vec/config.js';
import { defineModality, MODALITY_API } from './contract.js';

const never = () => {
  throw new Error('not part of this test');
};

export const fakeModality = defineModality({
  name: 'fake',
  api: MODALITY_API,
  moduleUrl: import.meta.url,
  configSchema: z.strictObject({
    ...modalityConfigShape,
    window: z.int().min(1).default(8).describe('samples per token'),
  }),
  dataSchema: z.object({ rate: z.number().default(16).describe('samples per second') }),
  presets: {
    tiny: {
      description: 'one CPU',
      config: {
        model: { embed_dim: 64, depth: 2, modalities: { fake: { mask_prob: 0.6 } } },
        optimization: { lr: 5e-4 },
        data: { dataset: 'sines' },
      },
    },
    base: { description: 'big', config: { optimizer: { adam_betas: [0.9, 0.98] } } },
  },
  supports: {},
  createEncoder: never,
  openData: never,
  openInputs: never,
  collate: never,
  datasets: { sines: { description: 'sine waves', license: 'CC0-1.0', size: '0' } },
});
