/**
 * A modality for tests of the trainer: 16 frames (or fewer) of 4 numbers, sine waves of three frequencies (the classes)
 * with noise. Small enough that an update takes a few milliseconds.
 */
import { z } from 'zod';
import { inputLayer, resolveConfig } from '../../config/resolve.js';
import type { RunConfig } from '../../config/schema.js';
import { makeContextEncoder } from '../../data2vec/blocks.js';
import { type ModalityConfig, type ModelConfig, modalityConfigShape } from '../../data2vec/config.js';
import { Decoder1d } from '../../data2vec/decoder.js';
import { type EncoderContext, ModalityEncoder, type TokenLayout } from '../../data2vec/modality-encoder.js';
import type { Pass } from '../../data2vec/pass.js';
import { BadSampleError } from '../../errors.js';
import {
  type Assets,
  type Batch,
  type DataSource,
  type DeepPartial,
  defineModality,
  MODALITY_API,
  type Sample,
} from '../../modality/contract.js';
import { Linear } from '../../nn/linear.js';
import { Module } from '../../nn/module.js';
import { Philox } from '../../random.js';
import type { Tensor } from '../../tensor/tensor.js';

const FRAMES = 16;
const NUMBERS = 4;

class FrameEncoder extends Module {
  private readonly linear: Linear;

  constructor(numbers: number, width: number) {
    super();
    this.linear = this.child('linear', new Linear(numbers, width));
  }

  forward(batch: Batch, pass: Pass): Tensor {
    return this.linear.forward(pass.input(batch.tensors.source!));
  }
}

/** For frames of so many numbers each. */
export class FramesEncoder extends ModalityEncoder {
  constructor(ctx: EncoderContext<ModalityConfig>, numbers: number) {
    const { config, model } = ctx;
    super(ctx, {
      localEncoder: new FrameEncoder(numbers, model.embed_dim),
      contextEncoder: makeContextEncoder(model, config),
      decoder: config.decoder ? new Decoder1d(config.decoder, model.embed_dim) : null,
    });
  }

  override layout(batch: Batch): TokenLayout {
    const tokens = batch.tensors.source!.shape[1]!;
    const { lengths } = batch.tensors;
    const padding = Uint8Array.from({ length: batch.size * tokens }, (_, i) =>
      i % tokens < lengths!.data[Math.floor(i / tokens)]! ? 0 : 1,
    );
    return { samples: batch.size, tokens, padding: padding.includes(1) ? padding : null };
  }
}

export type Fault = 'bad' | 'nan' | 'error';

export interface WaveOptions {
  length?: number;
  faults?: Record<number, Fault>;
  labelled?: boolean;
  /** Waves of 6 to 16 frames, and a source that tells so. */
  variable?: boolean;
  assets?: Assets;
}

/** Frames of a variable wave. */
export const framesOf = (index: number) => 6 + ((index * 7) % 11);

/** The data, in this process. */
export function waves({
  length = 40,
  faults = {},
  labelled = true,
  variable = false,
  assets,
}: WaveOptions = {}): DataSource {
  return {
    length,
    name: 'waves',
    classes: labelled ? ['slow', 'medium', 'fast'] : undefined,
    describe: (index) => `wave ${index}`,
    ...(variable && { sizes: () => Float64Array.from({ length }, (_, index) => framesOf(index)) }),
    ...(assets && { assets: () => assets }),
    async get(index, rng, mode) {
      if (faults[index] === 'bad') throw new BadSampleError(`${index}.wav`, 'made so');
      if (faults[index] === 'error') throw new Error('cable unplugged');
      const own = new Philox(99).fork('wave', index);
      const phase = own.uniform(0, 6) + (mode === 'train' ? rng.uniform(0, 0.3) : 0);
      const label = index % 3;
      const frames = variable ? framesOf(index) : FRAMES;
      const data = new Float32Array(frames * NUMBERS);
      for (let i = 0; i < data.length; i++)
        data[i] = Math.sin(phase + (label + 1) * 0.7 * i) + own.normal(0, 0.1);
      if (faults[index] === 'nan') data[3] = Number.NaN;
      const sample: Sample = { tensors: { source: { data, shape: [frames, NUMBERS] } }, id: index };
      return labelled ? { ...sample, label } : sample;
    },
  };
}

const config = z.strictObject({
  ...modalityConfigShape,
  prenet_depth: modalityConfigShape.prenet_depth.default(1),
});

export const wavesModality = defineModality({
  name: 'waves',
  api: MODALITY_API,
  moduleUrl: import.meta.url,
  configSchema: config,
  dataSchema: z.strictObject({}),
  supports: { labels: true, padding: true },
  sizeUnit: 'frames',
  presets: { tiny: { description: 'for tests', config: {} } },
  datasets: {},
  createEncoder: (ctx) => new FramesEncoder(ctx, NUMBERS),
  openData: async () => waves(),
  openInputs: async (paths) => waves({ length: paths.length }),
  collate: collateFrames,
});

/** Pads with zeros to the longest. */
export function collateFrames(samples: Sample[]): Batch {
  const lengths = Int32Array.from(samples, ({ tensors }) => tensors.source!.shape[0]!);
  const numbers = samples[0]!.tensors.source!.shape[1]!;
  const frames = Math.max(...lengths);
  const size = frames * numbers;
  const data = new Float32Array(samples.length * size);
  for (const [i, sample] of samples.entries()) data.set(sample.tensors.source!.data, i * size);
  return {
    size: samples.length,
    tensors: {
      source: { data, shape: [samples.length, frames, numbers] },
      lengths: { data: lengths, shape: [samples.length] },
    },
    labels: Int32Array.from(samples, ({ label }) => label ?? -1),
    ids: samples.map(({ id }) => id),
  };
}

/** The model of the tests, very small. */
export const model = {
  embed_dim: 16,
  depth: 2,
  num_heads: 2,
  clone_batch: 2,
  average_top_k_layers: 2,
  instance_norm_target_layer: true,
  encoder_dropout: 0.1,
  post_mlp_drop: 0.1,
  attention_dropout: 0.1,
  layerdrop: 0.1,
  ema_decay: 0.9,
  ema_end_decay: 0.99,
  cls_loss: 0.01,
  min_target_var: 0,
  min_pred_var: 0,
  modalities: {
    waves: {
      num_extra_tokens: 1,
      mask_prob: 0.5,
      mask_length: 2,
      decoder: { decoder_dim: 16, decoder_groups: 2, decoder_kernel: 3, decoder_layers: 1, input_dropout: 0 },
    },
  },
} satisfies DeepPartial<ModelConfig>;

type Settings = { [S in keyof RunConfig]?: DeepPartial<RunConfig[S]> };

/** The run of the tests. */
export const sections = {
  optimization: { max_update: 12, lr: 1e-3, clip_norm: 1 },
  lr_scheduler: { name: 'cosine', warmup_updates: 3 },
  optimizer: { weight_decay: 0.05 },
  checkpoint: { save_interval_updates: 5 },
  common: { seed: 11, threads: 1, log_interval: 3, tensorboard: false },
  stop: { loss_window: 3 },
};

/** A resolved config for `wavesModality`; sections of `settings` lie over the test's defaults. */
export function waveConfig(settings: Settings = {}): RunConfig {
  const base = { modality: 'waves', model, data: { batch_size: 8, num_workers: 0 }, ...sections };
  return resolveConfig({
    modality: wavesModality,
    layers: [inputLayer(base as never), inputLayer(settings as never)],
  });
}
