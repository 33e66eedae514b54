/** What is measured, by modality and preset: a new modality adds an entry here and a peer beside `peers/`. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Batch, type Modality, Philox, type RunConfig } from '@d2v/core';
import type { UpdateShape } from './flops.js';

export interface Workload {
  preset: string;
  /** Settings over the preset's. */
  set: string[];
  /** Updates before measuring, and measured in each of the rounds. */
  warmup: number;
  perRound: number;
  rounds: number;
  /** A batch of random input, already in memory. */
  batch(config: RunConfig, seed: number): Batch;
  shape(config: RunConfig): UpdateShape;
  /** Writes samples as a user would have them, for measuring the time that updates wait for data. */
  writeSamples(folder: string): Promise<void>;
  peer: PeerWorkload;
}

export interface PeerWorkload {
  /** In `peers/`. */
  script: string;
  /** What the script must report as its configuration: the same model, or the comparison is worth nothing. */
  expected(config: RunConfig): Record<string, unknown>;
}

export interface ModalityWorkloads {
  load(): Promise<Modality>;
  presets: readonly Workload[];
}

/** What the image modality's section looks like, as far as it is read here. */
interface ImageSection {
  input_size: number;
  patch_size: number;
  in_chans: number;
  prenet_depth: number;
  num_extra_tokens: number;
  mask_prob: number;
  mask_prob_adjust: number;
  mask_length: number;
  decoder: { decoder_dim: number; decoder_groups: number; decoder_kernel: number; decoder_layers: number };
}

const image = (config: RunConfig) => config.model.modalities.image as ImageSection;

function imageBatch(config: RunConfig, seed: number): Batch {
  const { input_size: side, in_chans: channels } = image(config);
  const size = config.data.batch_size!;
  const rng = new Philox(seed);
  const data = Float32Array.from({ length: size * channels * side * side }, () => rng.normal());
  return {
    size,
    tensors: { source: { data, shape: [size, channels, side, side] } },
    ids: Array.from({ length: size }, (_, i) => i),
  };
}

function imageShape(config: RunConfig): UpdateShape {
  const { model, data } = config;
  const section = image(config);
  const { decoder } = section;
  const tokens = Math.floor(section.input_size / section.patch_size) ** 2;
  const blocks = section.prenet_depth + model.depth;
  return {
    samples: data.batch_size!,
    clones: model.clone_batch,
    tokens,
    kept: Math.floor(tokens * (1 - section.mask_prob)),
    extra: section.num_extra_tokens,
    width: model.embed_dim,
    mlpRatio: model.mlp_ratio,
    studentBlocks: blocks,
    teacherBlocks: blocks,
    decoder: {
      width: decoder.decoder_dim,
      groups: decoder.decoder_groups,
      kernel: [decoder.decoder_kernel, decoder.decoder_kernel],
      layers: decoder.decoder_layers,
      projections: [model.embed_dim],
    },
  };
}

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

const imagePeer: PeerWorkload = {
  script: 'bench_image.py',
  expected: (config) => {
    const { model, optimizer, optimization, data } = config;
    const section = image(config);
    return {
      batch: data.batch_size!,
      image_size: section.input_size,
      channels: section.in_chans,
      patch: section.patch_size,
      width: model.embed_dim,
      depth: model.depth,
      prenet: section.prenet_depth,
      heads: model.num_heads,
      mlp_ratio: model.mlp_ratio,
      top_k: model.average_top_k_layers,
      clone_batch: model.clone_batch,
      mask_prob: section.mask_prob,
      mask_adjust: section.mask_prob_adjust,
      mask_length: section.mask_length,
      decoder_width: section.decoder.decoder_dim,
      decoder_groups: section.decoder.decoder_groups,
      decoder_kernel: section.decoder.decoder_kernel,
      decoder_layers: section.decoder.decoder_layers,
      betas: [...optimizer.adam_betas],
      weight_decay: optimizer.weight_decay,
      clip_norm: optimization.clip_norm,
    };
  },
};

const common = { batch: imageBatch, shape: imageShape, peer: imagePeer };

/**
 * The workloads pin every size that the number of FLOPs depends on, so that figures stay comparable between commits when
 * a preset is tuned.
 */
const tinyShape = [
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
];

export const workloads: Record<string, ModalityWorkloads> = {
  image: {
    load: async () => (await import('@d2v/modality-image')).default,
    presets: [
      {
        ...common,
        preset: 'tiny',
        set: tinyShape,
        warmup: 5,
        perRound: 10,
        rounds: 6,
        writeSamples: (folder) => writeImages(folder, 256, 64, 64),
      },
      {
        ...common,
        preset: 'base',
        set: ['data.batch_size=2', 'model.clone_batch=8', 'optimization.update_freq=1'],
        warmup: 2,
        perRound: 4,
        rounds: 5,
        // The usual size of ImageNet's photographs.
        writeSamples: (folder) => writeImages(folder, 48, 500, 375),
      },
    ],
  },
};
