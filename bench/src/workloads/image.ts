import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Batch, Philox, type RunConfig } from '@d2v/core';
import { batchSize, type ModalitySection, sharedPeerConfig, sharedShape } from './shared.js';
import type { ModalityWorkloads, Workload } from './types.js';

interface ImageSection extends ModalitySection {
  input_size: number;
  patch_size: number;
  in_chans: number;
  mask_prob_adjust: number;
  mask_length: number;
}

const section = (config: RunConfig) => config.model.modalities.image as ImageSection;

function randomImages(config: RunConfig, seed: number): Batch {
  const { input_size: side, in_chans: channels } = section(config);
  const size = batchSize(config);
  const rng = new Philox(seed);
  const data = Float32Array.from({ length: size * channels * side * side }, () => rng.normal());
  return {
    size,
    tensors: { source: { data, shape: [size, channels, side, side] } },
    ids: Array.from({ length: size }, (_, i) => i),
  };
}

const common: Pick<Workload, 'batch' | 'shape' | 'peerConfig'> = {
  batch: randomImages,
  shape: (config, kept) => {
    const { input_size, patch_size } = section(config);
    const tokens = Math.floor(input_size / patch_size) ** 2;
    return sharedShape(config, section(config), { tokens, kept, rank: 2 });
  },
  peerConfig: (config) => {
    const { input_size, in_chans, patch_size, mask_prob_adjust, mask_length } = section(config);
    return {
      ...sharedPeerConfig(config, section(config)),
      image_size: input_size,
      channels: in_chans,
      patch: patch_size,
      mask_adjust: mask_prob_adjust,
      mask_length,
    };
  },
};

/** Pictures with some structure, so that compressed files have a usual size. */
async function writeImages(folder: string, count: number, width: number, height: number): Promise<void> {
  const { default: sharp } = await import('sharp');
  await mkdir(folder, { recursive: true });
  const rng = new Philox(1);
  for (let i = 0; i < count; i++) {
    const [fx, fy, phase] = [rng.uniform() / 9, rng.uniform() / 9, rng.uniform() * 6];
    const pixels = Uint8Array.from({ length: width * height * 3 }, (_, at) => {
      const [x, y] = [Math.floor(at / 3) % width, Math.floor(at / 3 / width)];
      return 128 + 90 * Math.sin(fx * x + fy * y + phase + (at % 3)) + 30 * (rng.uniform() - 0.5);
    });
    await sharp(pixels, { raw: { width, height, channels: 3 } })
      .jpeg({ quality: 90 })
      .toFile(join(folder, `${String(i).padStart(4, '0')}.jpg`));
  }
}

export const image: ModalityWorkloads = {
  load: async () => (await import('@d2v/modality-image')).default,
  presets: [
    {
      ...common,
      preset: 'tiny',
      set: [
        'data.batch_size=32',
        'model.clone_batch=4',
        'model.embed_dim=192',
        'model.depth=6',
        'model.num_heads=6',
        'model.average_top_k_layers=6',
        'model.modalities.image.embed_dim=192',
        'model.modalities.image.input_size=32',
        'model.modalities.image.patch_size=4',
        'model.modalities.image.prenet_depth=0',
        'model.modalities.image.mask_prob=0.8',
        'model.modalities.image.mask_prob_adjust=0.07',
        'model.modalities.image.mask_length=3',
        'model.modalities.image.decoder.decoder_dim=192',
        'model.modalities.image.decoder.decoder_groups=16',
        'model.modalities.image.decoder.decoder_kernel=3',
        'model.modalities.image.decoder.decoder_layers=4',
        'model.cls_loss=0.01',
        'model.recon_loss=0',
        'optimizer.adam_betas=[0.9,0.95]',
        'optimizer.weight_decay=0.05',
        'optimization.clip_norm=4',
        'optimization.update_freq=1',
      ],
      onGpu: ['data.batch_size=128'],
      warmup: 5,
      perRound: 10,
      rounds: 6,
      writeSamples: (folder) => writeImages(folder, 256, 64, 64),
    },
    {
      ...common,
      preset: 'base',
      set: ['data.batch_size=2', 'model.clone_batch=8', 'optimization.update_freq=1'],
      onGpu: ['data.batch_size=64', 'model.clone_batch=16'],
      warmup: 2,
      perRound: 4,
      rounds: 5,
      // The usual size of ImageNet's photographs.
      writeSamples: (folder) => writeImages(folder, 48, 500, 375),
    },
  ],
};
