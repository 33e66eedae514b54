/** A modality that does nothing, for tests of config and registry. */
import { z } from 'zod';
import { modalityConfigShape } from '../data2vec/config.js';
import { defineModality, MODALITY_API, type Modality } from './contract.js';

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

/** Another one, for runs of both. */
export const otherModality = defineModality({
  ...(fakeModality as Modality),
  name: 'other',
  dataSchema: z.object({ width: z.number().default(3).describe('of what there is') }),
  openData: never,
  openInputs: never,
  collate: never,
  presets: {
    tiny: {
      description: 'one CPU',
      config: {
        model: { embed_dim: 32, modalities: { other: { mask_prob: 0.4, mask_length: 7 } } },
        data: { batch_size: 6 },
        eval: { pool: 'grid', interval_updates: 5 },
      },
    },
  },
  jointPresets: { base: { model: { modalities: { other: { mask_length: 9 } } } } },
  datasets: {},
});
