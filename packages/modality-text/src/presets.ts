/**
 * Named configurations. `base` and `large` are the paper's (arXiv 2212.07525, appendix A) in the numbers of the published
 * configuration files; `update_freq` stands for the GPUs they were trained on, so that one device makes the same updates.
 */
import type { DeepPartial, Preset, RunConfigInput } from '@d2v/core';

type Settings = DeepPartial<RunConfigInput>;

/** What both of the paper's text models share. */
const paper = {
  model: {
    loss_beta: 0,
    loss_scale: 1,
    layer_norm_first: false,
    layerdrop: 0,
    mlp_ratio: 4,
    norm_eps: 1e-5,
    encoder_dropout: 0.1,
    post_mlp_drop: 0.1,
    attention_dropout: 0.1,
    activation_dropout: 0,
    clone_batch: 8,
    ema_decay: 0.9999,
    ema_end_decay: 0.99999,
    ema_anneal_end_step: 100_000,
    ema_encoder_only: true,
    batch_norm_target_layer: false,
    layer_norm_targets: false,
    end_of_block_targets: false,
    supported_modality: 'TEXT',
  },
  text: { mask_length: 1, mask_noise_std: 0.01, prenet_depth: 0, dropout: 0.1 },
  decoder: {
    decoder_groups: 1,
    decoder_kernel: 9,
    decoder_layers: 5,
    decoder_residual: false,
    projection_layers: 2,
    projection_ratio: 2,
    input_dropout: 0.1,
  },
  data: { tokenizer: 'gpt2', tokens_per_sample: 512, sample_break_mode: 'none' },
  run: {
    optimizer: { name: 'adam', adam_betas: [0.9, 0.98], adam_eps: 1e-6, weight_decay: 0.01 },
    lr_scheduler: { name: 'cosine', warmup_updates: 4000 },
    checkpoint: { save_interval_updates: 50_000, keep_interval_updates: 1 },
    common: { log_interval: 200 },
  },
} satisfies { model: object; text: object; decoder: object; data: object; run: Settings };

const base: Settings = {
  ...paper.run,
  model: {
    ...paper.model,
    depth: 12,
    embed_dim: 768,
    num_heads: 12,
    average_top_k_layers: 12,
    instance_norm_target_layer: true,
    layer_norm_target_layer: false,
    instance_norm_targets: false,
    modalities: {
      text: { ...paper.text, mask_prob: 0.48, decoder: { ...paper.decoder, decoder_dim: 768 } },
    },
  },
  data: { ...paper.data, batch_size: 4 },
  optimization: { max_update: 1_000_000, lr: 2e-4, clip_norm: 1, update_freq: 16 },
};

const large: Settings = {
  ...paper.run,
  model: {
    ...paper.model,
    depth: 24,
    embed_dim: 1024,
    num_heads: 16,
    average_top_k_layers: 24,
    instance_norm_target_layer: false,
    layer_norm_target_layer: true,
    instance_norm_targets: true,
    modalities: {
      text: { ...paper.text, mask_prob: 0.5, decoder: { ...paper.decoder, decoder_dim: 768 } },
    },
  },
  data: { ...paper.data, batch_size: 2 },
  optimization: { max_update: 600_000, lr: 1e-4, clip_norm: 1, update_freq: 32 },
};

/**
 * Learns something on one CPU within minutes. What differs from the paper, besides the size, is for a run of so few updates:
 * no dropout, a teacher that follows fast, and a high rate for the embeddings, whose rows are seen rarely. Distances in the
 * attention take the place of learned positions, which would make up half of the first targets; targets keep the mean over
 * a sample, which is what a short text is about.
 */
const tiny: Settings = {
  optimizer: { ...paper.run.optimizer, groups: [{ match: 'embed_tokens', lr_scale: 4 }] },
  model: {
    ...paper.model,
    encoder_dropout: 0,
    post_mlp_drop: 0,
    attention_dropout: 0,
    depth: 2,
    embed_dim: 128,
    num_heads: 4,
    average_top_k_layers: 2,
    instance_norm_target_layer: false,
    layer_norm_target_layer: true,
    instance_norm_targets: false,
    clone_batch: 2,
    ema_decay: 0.99,
    ema_end_decay: 0.998,
    ema_anneal_end_step: null,
    modalities: {
      text: {
        ...paper.text,
        dropout: 0,
        max_source_positions: 128,
        no_token_positional_embeddings: true,
        use_alibi_encoder: true,
        learned_alibi_scale: true,
        learned_alibi_scale_per_head: true,
        mask_prob: 0.48,
        decoder: { ...paper.decoder, decoder_dim: 128, decoder_layers: 1, input_dropout: 0 },
      },
    },
  },
  data: { batch_size: null, batch_length: 1024 },
  optimization: { max_update: 3000, lr: 3e-3, clip_norm: 1 },
  lr_scheduler: { name: 'cosine', warmup_updates: 80 },
  eval: { linear: true, batch_size: 64, train_samples: 4000, valid_samples: 2000 },
  checkpoint: { save_interval_updates: 1000, keep_interval_updates: 1 },
  common: { log_interval: 100 },
};

export const presets: Record<string, Preset> = {
  tiny: {
    description: '2 blocks of width 128, 1.8 M parameters: minutes on one CPU, no GPU needed',
    config: tiny,
  },
  base: { description: 'the paper: 12 blocks of width 768, 512 tokens: GPUs and days', config: base },
  large: { description: 'the paper: 24 blocks of width 1024, 512 tokens: many GPUs and days', config: large },
};

/** In a model of several modalities, whose class loss needs a class token of each. */
const joint: Settings = {
  model: { modalities: { text: { num_extra_tokens: 1, init_extra_token_zero: false } } },
};

export const jointPresets: Record<string, Settings> = {
  // With more masks per sample and more blocks than alone: about as much work as an update of images.
  tiny: { ...joint, data: { batch_size: null, batch_length: 512 } },
  base: joint,
};
