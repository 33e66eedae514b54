/**
 * Named configurations. `base`, `large` and `huge14` are the paper's (arXiv 2212.07525, appendix A) in the numbers of
 * the published configuration files; `update_freq` stands for the GPUs they were trained on, so that one device makes
 * the same updates.
 */
import type { DeepPartial, Preset, RunConfigInput } from '@d2v/core';

type Settings = DeepPartial<RunConfigInput>;

/** What all three of the paper's image models share. */
const paper = {
  model: {
    layer_norm_first: false,
    mlp_ratio: 4,
    norm_eps: 1e-6,
    encoder_dropout: 0,
    post_mlp_drop: 0,
    attention_dropout: 0,
    activation_dropout: 0,
    cls_loss: 0.01,
    clone_batch: 16,
    ema_encoder_only: false,
    instance_norm_target_layer: true,
    layer_norm_target_layer: false,
    layer_norm_targets: true,
    end_of_block_targets: false,
    min_target_var: 0,
    min_pred_var: 0,
    supported_modality: 'IMAGE',
  },
  image: {
    inverse_mask: true,
    mask_length: 3,
    mask_noise_std: 0.01,
    ema_local_encoder: true,
    num_extra_tokens: 1,
    init_extra_token_zero: false,
    use_alibi_encoder: false,
  },
  run: {
    optimizer: { name: 'adam', adam_betas: [0.9, 0.95], adam_eps: 1e-8, weight_decay: 0.05 },
    checkpoint: { save_interval_updates: 25_000, keep_interval_updates: 1 },
    common: { log_interval: 200 },
  },
} satisfies { model: object; image: object; run: Settings };

const cosine = { name: 'cosine', warmup_updates: 50_040 } as const;

const base: Settings = {
  ...paper.run,
  model: {
    ...paper.model,
    depth: 10,
    embed_dim: 768,
    num_heads: 12,
    average_top_k_layers: 10,
    ema_decay: 0.9998,
    ema_end_decay: 0.99999,
    ema_anneal_end_step: 100_000,
    modalities: {
      image: {
        ...paper.image,
        embed_dim: 768,
        mask_prob: 0.8,
        mask_prob_adjust: 0.07,
        prenet_depth: 2,
        decoder: {
          decoder_dim: 768,
          decoder_groups: 16,
          decoder_kernel: 3,
          decoder_layers: 6,
          input_dropout: 0,
        },
      },
    },
  },
  data: { batch_size: 16 },
  optimization: { max_update: 375_300, lr: 1e-3, clip_norm: 4, update_freq: 16 },
  lr_scheduler: cosine,
};

/** The larger two differ from base in masking and decoder, and have no blocks of their own. */
const largeImage = {
  ...paper.image,
  mask_prob: 0.75,
  mask_prob_adjust: 0.1,
  prenet_depth: 0,
  decoder: { decoder_dim: 1024, decoder_groups: 16, decoder_kernel: 5, decoder_layers: 3, input_dropout: 0 },
};

const large: Settings = {
  ...paper.run,
  model: {
    ...paper.model,
    depth: 24,
    embed_dim: 1024,
    num_heads: 16,
    average_top_k_layers: 18,
    ema_decay: 0.9998,
    ema_end_decay: 0.99999,
    ema_anneal_end_step: 150_000,
    modalities: { image: { ...largeImage, embed_dim: 1024 } },
  },
  data: { batch_size: 8 },
  optimization: { max_update: 375_300, lr: 4e-4, clip_norm: 4, update_freq: 16 },
  lr_scheduler: cosine,
};

const huge14: Settings = {
  ...paper.run,
  model: {
    ...paper.model,
    depth: 32,
    embed_dim: 1280,
    num_heads: 16,
    average_top_k_layers: 24,
    ema_decay: 0.9998,
    ema_end_decay: 1,
    ema_anneal_end_step: 300_000,
    modalities: { image: { ...largeImage, embed_dim: 1280, patch_size: 14 } },
  },
  data: { batch_size: 8 },
  optimization: { max_update: 500_000, lr: 4e-4, clip_norm: 4, update_freq: 32 },
  lr_scheduler: cosine,
};

/** Learns something on one CPU within minutes: the base model's recipe at a 1000th of its cost. */
const tiny: Settings = {
  optimizer: paper.run.optimizer,
  model: {
    ...paper.model,
    min_target_var: 0.1,
    min_pred_var: 0.01,
    depth: 6,
    embed_dim: 192,
    num_heads: 6,
    clone_batch: 4,
    average_top_k_layers: 6,
    ema_decay: 0.99,
    ema_end_decay: 0.998,
    modalities: {
      image: {
        ...paper.image,
        input_size: 32,
        patch_size: 4,
        embed_dim: 192,
        mask_prob: 0.8,
        mask_prob_adjust: 0.07,
        prenet_depth: 0,
        decoder: {
          decoder_dim: 192,
          decoder_groups: 16,
          decoder_kernel: 3,
          decoder_layers: 4,
          input_dropout: 0,
        },
      },
    },
  },
  // Small batches: in so few minutes, many updates teach more than large ones.
  data: { batch_size: 8 },
  optimization: { max_update: 2500, lr: 2e-3, clip_norm: 4 },
  lr_scheduler: { name: 'cosine', warmup_updates: 80 },
  // Quarters of the image, since the mean over all patches forgets where a stroke was.
  eval: { pool: 'grid', linear: true },
  checkpoint: { save_interval_updates: 500, keep_interval_updates: 1 },
  common: { log_interval: 25 },
};

export const presets: Record<string, Preset> = {
  tiny: { description: '32 px, patch 4, 2.7 M parameters: minutes on one CPU, no GPU needed', config: tiny },
  base: { description: 'ViT-B/16 of the paper, 224 px, 86 M parameters: GPUs and days', config: base },
  large: { description: 'ViT-L/16 of the paper, 224 px, 304 M parameters: GPUs and days', config: large },
  huge14: {
    description: 'ViT-H/14 of the paper, 224 px, 632 M parameters: many GPUs and days',
    config: huge14,
  },
};
