import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Batch, Philox, type RunConfig } from '@d2v/core';
import {
  batchSize,
  type ModalitySection,
  sharedPeerConfig,
  sharedShape,
  shortenSequences,
} from './shared.js';
import type { ModalityWorkloads, Workload } from './types.js';

interface AudioSection extends ModalitySection {
  /** Width, kernel and stride of each layer; workloads pin it in this form. */
  feature_encoder_spec: [number, number, number][];
  conv_pos_width: number;
  conv_pos_depth: number;
  conv_pos_groups: number;
  mask_length: number;
}

const RATE = 16_000;
const section = (config: RunConfig) => config.model.modalities.audio as AudioSection;
const clipLength = (config: RunConfig) =>
  (config.data as unknown as { max_sample_size: number }).max_sample_size;

function randomClips(config: RunConfig, seed: number): Batch {
  const [size, samples] = [batchSize(config), clipLength(config)];
  const rng = new Philox(seed);
  const data = Float32Array.from({ length: size * samples }, () => rng.normal());
  return {
    size,
    tensors: { source: { data, shape: [size, samples] } },
    ids: Array.from({ length: size }, (_, i) => i),
  };
}

/** Tokens of a clip, the FLOPs of its feature encoder with the projection to the model's width, and what it writes. */
function featureCost(config: RunConfig): { tokens: number; perSample: number; elements: number } {
  let [length, inputs, perSample, elements] = [clipLength(config), 1, 0, 0];
  for (const [width, kernel, stride] of section(config).feature_encoder_spec) {
    length = Math.floor((length - kernel) / stride) + 1;
    perSample += 2 * length * inputs * kernel * width;
    elements += length * width;
    inputs = width;
  }
  const projection = 2 * length * inputs * config.model.embed_dim;
  return { tokens: length, perSample: perSample + projection, elements };
}

function shape(config: RunConfig, kept: number) {
  const { tokens, perSample, elements } = featureCost(config);
  const { conv_pos_width, conv_pos_depth, conv_pos_groups } = section(config);
  const kernel = Math.max(3, Math.floor(conv_pos_width / conv_pos_depth));
  return {
    ...sharedShape(config, section(config), { tokens, kept, rank: 1 }),
    featuresPerSample: perSample,
    featureElements: elements,
    positionLayers: conv_pos_depth,
    positionsPerToken: (2 * conv_pos_depth * kernel * config.model.embed_dim ** 2) / conv_pos_groups,
  };
}

const common: Pick<Workload, 'batch' | 'shorten' | 'shape' | 'peerConfig'> = {
  batch: randomClips,
  shorten: shortenSequences,
  shape,
  peerConfig: (config) => {
    const { feature_encoder_spec, conv_pos_width, conv_pos_depth, conv_pos_groups, mask_length } =
      section(config);
    return {
      ...sharedPeerConfig(config, section(config)),
      samples: clipLength(config),
      layers: feature_encoder_spec,
      position_width: conv_pos_width,
      position_depth: conv_pos_depth,
      position_groups: conv_pos_groups,
      mask_length,
    };
  },
};

/** Sounds of so many seconds each, 16 bits at 16 kHz. */
async function writeClips(folder: string, count: number, seconds: number): Promise<void> {
  await mkdir(folder, { recursive: true });
  const rng = new Philox(1);
  const samples = seconds * RATE;
  for (let i = 0; i < count; i++) {
    const pitch = 0.02 + 0.2 * rng.uniform();
    const file = Buffer.alloc(44 + 2 * samples);
    file.write('RIFF', 0, 'latin1');
    file.writeUInt32LE(36 + 2 * samples, 4);
    file.write('WAVEfmt ', 8, 'latin1');
    file.writeUInt32LE(16, 16);
    file.writeUInt16LE(1, 20); // integers
    file.writeUInt16LE(1, 22); // mono
    file.writeUInt32LE(RATE, 24);
    file.writeUInt32LE(2 * RATE, 28);
    file.writeUInt16LE(2, 32);
    file.writeUInt16LE(16, 34);
    file.write('data', 36, 'latin1');
    file.writeUInt32LE(2 * samples, 40);
    for (let t = 0; t < samples; t++) {
      file.writeInt16LE(Math.round(9000 * Math.sin(pitch * t) + 9000 * (rng.uniform() - 0.5)), 44 + 2 * t);
    }
    await writeFile(join(folder, `${String(i).padStart(4, '0')}.wav`), file);
  }
}

const spec = (layers: [number, number, number][]) =>
  `model.modalities.audio.feature_encoder_spec=${JSON.stringify(layers)}`;

export const audio: ModalityWorkloads = {
  load: async () => (await import('@d2v/modality-audio')).default,
  presets: [
    {
      ...common,
      preset: 'tiny',
      set: [
        'data.batch_size=8',
        'data.batch_length=null',
        'data.max_sample_size=16000',
        'data.min_sample_size=16000',
        'model.clone_batch=8',
        'model.embed_dim=192',
        'model.depth=5',
        'model.num_heads=6',
        'model.average_top_k_layers=5',
        'model.encoder_dropout=0',
        'model.attention_dropout=0',
        'model.post_mlp_drop=0',
        'model.layerdrop=0',
        'model.cls_loss=0',
        'model.instance_norm_target_layer=true',
        'model.layer_norm_target_layer=false',
        'model.batch_norm_target_layer=false',
        spec([
          [128, 10, 5],
          [128, 3, 2],
          [128, 3, 2],
          [128, 3, 2],
          [128, 3, 2],
          [128, 2, 2],
        ]),
        'model.modalities.audio.conv_pos_width=95',
        'model.modalities.audio.conv_pos_depth=5',
        'model.modalities.audio.conv_pos_groups=16',
        'model.modalities.audio.prenet_depth=0',
        'model.modalities.audio.prenet_dropout=0',
        'model.modalities.audio.mask_prob=0.5',
        'model.modalities.audio.mask_length=5',
        'model.modalities.audio.decoder.decoder_dim=192',
        'model.modalities.audio.decoder.decoder_groups=16',
        'model.modalities.audio.decoder.decoder_kernel=7',
        'model.modalities.audio.decoder.decoder_layers=3',
        'model.modalities.audio.decoder.input_dropout=0',
        'optimizer.adam_betas=[0.9,0.98]',
        'optimizer.weight_decay=0.01',
        'optimization.clip_norm=4',
        'optimization.update_freq=1',
      ],
      onGpu: ['data.batch_size=64'],
      warmup: 5,
      perRound: 6,
      rounds: 6,
      writeSamples: (folder) => writeClips(folder, 200, 2),
    },
    {
      ...common,
      preset: 'base',
      set: [
        'data.batch_size=2',
        'data.batch_length=null',
        'data.max_sample_size=160000',
        'model.clone_batch=4',
        // Which blocks layer drop leaves out is a matter of luck, and so would be the time.
        'model.layerdrop=0',
        'model.modalities.audio.prenet_layerdrop=0',
        spec([
          [512, 10, 5],
          [512, 3, 2],
          [512, 3, 2],
          [512, 3, 2],
          [512, 3, 2],
          [512, 2, 2],
          [512, 2, 2],
        ]),
        'optimization.update_freq=1',
      ],
      onGpu: ['data.batch_size=8', 'model.clone_batch=8'],
      warmup: 3,
      perRound: 2,
      rounds: 4,
      writeSamples: (folder) => writeClips(folder, 40, 12),
    },
  ],
};
