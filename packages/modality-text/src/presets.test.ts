import { resolveConfig } from '@d2v/core';
import { describe, expect, it } from 'vitest';
import type { TextConfig } from './config.js';
import type { TextDataConfig } from './data-config.js';
import text from './index.js';

const resolve = (preset: string, set: string[] = []) => resolveConfig({ modality: text, preset, set });
const encoder = (config: ReturnType<typeof resolve>) => config.model.modalities.text as TextConfig;
const data = (config: ReturnType<typeof resolve>) => config.data as typeof config.data & TextDataConfig;

/** The paper's numbers, a row per model. */
const PAPER = {
  base: {
    shape: [768, 12, 12, 12],
    maskProb: 0.48,
    targets: {
      instance_norm_target_layer: true,
      layer_norm_target_layer: false,
      instance_norm_targets: false,
    },
    lr: 2e-4,
    updates: 1_000_000,
    batch: 4 * 16,
  },
  large: {
    shape: [1024, 24, 16, 24],
    maskProb: 0.5,
    targets: {
      instance_norm_target_layer: false,
      layer_norm_target_layer: true,
      instance_norm_targets: true,
    },
    lr: 1e-4,
    updates: 600_000,
    batch: 2 * 32,
  },
};

describe('presets of the paper', () => {
  it.each(Object.entries(PAPER))('%s', (name, paper) => {
    const config = resolve(name);
    const { model, optimization, optimizer, lr_scheduler } = config;
    expect([model.embed_dim, model.depth, model.num_heads, model.average_top_k_layers]).toEqual(paper.shape);
    expect([model.ema_decay, model.ema_end_decay, model.ema_anneal_end_step]).toEqual([
      0.9999, 0.99999, 100_000,
    ]);
    expect(model).toMatchObject({
      ...paper.targets,
      clone_batch: 8,
      loss_scale: 1,
      loss_beta: 0,
      norm_eps: 1e-5,
      layer_norm_first: false,
      ema_encoder_only: true,
      encoder_dropout: 0.1,
      post_mlp_drop: 0.1,
      attention_dropout: 0.1,
      layer_norm_targets: false,
      end_of_block_targets: false,
    });
    expect(encoder(config)).toMatchObject({
      vocab_size: 50_262,
      max_source_positions: 512,
      mask_prob: paper.maskProb,
      mask_length: 1,
      mask_noise_std: 0.01,
      prenet_depth: 0,
      dropout: 0.1,
      learned_pos: true,
      layernorm_embedding: true,
      no_scale_embedding: true,
      decoder: {
        decoder_dim: 768,
        decoder_groups: 1,
        decoder_kernel: 9,
        decoder_layers: 5,
        decoder_residual: false,
        projection_layers: 2,
        projection_ratio: 2,
        input_dropout: 0.1,
      },
    });
    expect(data(config)).toMatchObject({
      tokenizer: 'gpt2',
      vocab_size: 50_262,
      tokens_per_sample: 512,
      sample_break_mode: 'none',
    });
    expect(optimization).toMatchObject({ lr: paper.lr, max_update: paper.updates, clip_norm: 1 });
    expect(data(config).batch_size! * optimization.update_freq).toBe(paper.batch);
    expect(optimizer).toMatchObject({ adam_betas: [0.9, 0.98], adam_eps: 1e-6, weight_decay: 0.01 });
    expect(lr_scheduler).toMatchObject({ name: 'cosine', warmup_updates: 4000 });
  });
});

describe('settings that follow from others', () => {
  it('are the default data, the size of its vocabulary, and the positions of the model', () => {
    const config = resolve('tiny');
    expect(data(config)).toMatchObject({ dataset: 'glosses', vocab_size: 8192, tokens_per_sample: 128 });
    expect(encoder(config).vocab_size).toBe(8192);
    expect(config.eval.data).toBe(null);
  });

  it('follow what the user says', () => {
    const config = resolve('tiny', ['data.vocab_size=500', 'model.modalities.text.max_source_positions=40']);
    expect(encoder(config).vocab_size).toBe(500);
    expect(data(config).tokens_per_sample).toBe(40);
    expect(encoder(resolve('tiny', ['data.tokenizer=gpt2'])).vocab_size).toBe(50_262);
    const sotu = resolve('tiny', ['data.dataset=sotu']);
    expect(data(sotu).sample_break_mode).toBe('none');
    expect(sotu.eval.data).toBe('glosses');
    expect(() => resolve('tiny', ['data.tokenizer=/nowhere.json'])).toThrow(
      'data.tokenizer: there is no file or folder /nowhere.json',
    );
  });
});
