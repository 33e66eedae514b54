import { describeModality } from '@d2v/core/testing';
import modality from './index.js';

describeModality(modality, {
  data: { dataset: 'waveforms', limit: 64 },
  config: {
    model: {
      modalities: { timeseries: { decoder: { decoder_dim: 32, decoder_groups: 4, decoder_layers: 2 } } },
    },
  },
});
