import { resolveConfig } from '@d2v/core';
import { describe, expect, it } from 'vitest';
import type { ImageConfig } from './config.js';
import type { ImageDataConfig } from './data-config.js';
import { datasets } from './datasets/index.js';
import image from './index.js';

const resolve = (preset: string, set: string[] = []) => resolveConfig({ modality: image, preset, set });
const encoder = (config: ReturnType<typeof resolve>) => config.model.modalities.image as ImageConfig;
const data = (config: ReturnType<typeof resolve>) => config.data as typeof config.data & ImageDataConfig;

/** The paper's numbers, a row per model. */
const PAPER = {
  base: {
    shape: [768, 10, 12, 10],
    ema: [0.9998, 0.99999, 100_000],
    image: { patch_size: 16, prenet_depth: 2, mask_prob: 0.8, mask_prob_adjust: 0.07 },
    decoder: [768, 16, 3, 6],
    lr: 1e-3,
    updates: 375_300,
    batch: 16 * 16,
    parameters: 86e6,
  },
  large: {
    shape: [1024, 24, 16, 18],
    ema: [0.9998, 0.99999, 150_000],
    image: { patch_size: 16, prenet_depth: 0, mask_prob: 0.75, mask_prob_adjust: 0.1 },
    decoder: [1024, 16, 5, 3],
    lr: 4e-4,
    updates: 375_300,
    batch: 8 * 16,
    parameters: 304e6,
  },
  huge14: {
    shape: [1280, 32, 16, 24],
    ema: [0.9998, 1, 300_000],
    image: { patch_size: 14, prenet_depth: 0, mask_prob: 0.75, mask_prob_adjust: 0.1 },
    decoder: [1024, 16, 5, 3],
    lr: 4e-4,
    updates: 500_000,
    batch: 8 * 32,
    parameters: 632e6,
  },
};

describe('presets of the paper', () => {
  for (const [name, paper] of Object.entries(PAPER)) {
    it(name, () => {
      const config = resolve(name);
      const { model, optimization } = config;
      expect([model.embed_dim, model.depth, model.num_heads, model.average_top_k_layers]).toEqual(
        paper.shape,
      );
      expect([model.ema_decay, model.ema_end_decay, model.ema_anneal_end_step]).toEqual(paper.ema);
      expect(model).toMatchObject({
        clone_batch: 16,
        cls_loss: 0.01,
        norm_eps: 1e-6,
        mlp_ratio: 4,
        layer_norm_first: false,
        ema_encoder_only: false,
        instance_norm_target_layer: true,
        layer_norm_targets: true,
        end_of_block_targets: false,
        encoder_dropout: 0,
        attention_dropout: 0,
        loss_scale: null,
        loss_beta: 0,
      });
      const own = encoder(config);
      expect(own).toMatchObject({
        ...paper.image,
        input_size: 224,
        embed_dim: model.embed_dim,
        inverse_mask: true,
        mask_length: 3,
        mask_noise_std: 0.01,
        ema_local_encoder: true,
        num_extra_tokens: 1,
        init_extra_token_zero: false,
      });
      const { decoder_dim, decoder_groups, decoder_kernel, decoder_layers, input_dropout } = own.decoder!;
      expect([decoder_dim, decoder_groups, decoder_kernel, decoder_layers]).toEqual(paper.decoder);
      expect(input_dropout).toBe(0);
      expect(optimization).toMatchObject({ lr: paper.lr, max_update: paper.updates, clip_norm: 4 });
      expect(config.data.batch_size! * optimization.update_freq).toBe(paper.batch);
      expect(config.optimizer).toMatchObject({ adam_betas: [0.9, 0.95], adam_eps: 1e-8, weight_decay: 0.05 });
      expect(config.lr_scheduler).toMatchObject({ name: 'cosine', warmup_updates: 50_040 });
      // Twelve d^2 per block: the size by which these models are known.
      const blocks = 12 * model.embed_dim ** 2 * (model.depth + own.prenet_depth);
      expect(Math.abs(blocks / paper.parameters - 1)).toBeLessThan(0.02);
    });
  }

  it('see pictures as in the paper, of any dataset but the built-in ones', () => {
    expect(data(resolve('base', ['data.path=pictures']))).toMatchObject({
      input_size: 224,
      crop_scale: [0.2, 1],
      crop_ratio: [3 / 4, 4 / 3],
      flip: 0.5,
      interpolation: 'bicubic',
      mean: [0.485, 0.456, 0.406],
      std: [0.229, 0.224, 0.225],
    });
  });
});

describe('tiny', () => {
  it('has the shape that benchmarks refer to', () => {
    const config = resolve('tiny');
    expect(config.preset).toBe('tiny');
    expect(resolveConfig({ modality: image }).preset).toBe('tiny');
    expect(config.model).toMatchObject({ embed_dim: 192, depth: 6, clone_batch: 4 });
    expect(encoder(config)).toMatchObject({ input_size: 32, patch_size: 4, embed_dim: 192, prenet_depth: 0 });
    expect(encoder(config).decoder).toMatchObject({
      decoder_dim: 192,
      decoder_groups: 16,
      decoder_kernel: 3,
      decoder_layers: 4,
    });
  });
});

describe('suggestions', () => {
  it('a built-in dataset brings its own augmentation, below what the user says', () => {
    expect(data(resolve('tiny'))).toMatchObject({
      dataset: 'digits',
      input_size: 32,
      ...datasets.digits!.suggested,
    });
    const mine = data(resolve('tiny', ['data.dataset=emoji', 'data.flip=0.25']));
    expect(mine).toMatchObject({ dataset: 'emoji', ...datasets.emoji!.suggested, flip: 0.25 });
  });

  it('pictures have the size the model wants', () => {
    expect(data(resolve('base', ['model.modalities.image.input_size=64'])).input_size).toBe(64);
  });

  it('a path replaces the dataset', () => {
    const config = data(resolve('tiny', ['data.path=pictures']));
    expect(config).toMatchObject({ path: 'pictures', dataset: null, flip: 0.5, input_size: 32 });
  });

  it('an unknown dataset is left to the error message', () => {
    expect(data(resolve('tiny', ['data.dataset=digit'])).dataset).toBe('digit');
  });
});
