/**
 * Starting points for runs of several modalities: what all modalities share. Each modality adds its own encoder and data,
 * see `Modality.jointPresets`.
 */
import type { Preset } from '../modality/contract.js';

/** One model for all: no dropout, a class token, targets as for the original's images. */
const model = {
  layer_norm_first: false,
  mlp_ratio: 4,
  norm_eps: 1e-6,
  encoder_dropout: 0,
  post_mlp_drop: 0,
  attention_dropout: 0,
  activation_dropout: 0,
  cls_loss: 0.01,
  ema_encoder_only: false,
  instance_norm_target_layer: true,
  layer_norm_target_layer: false,
  layer_norm_targets: true,
  end_of_block_targets: false,
} as const;

const optimizer: Preset['config']['optimizer'] = {
  name: 'adam',
  adam_betas: [0.9, 0.98],
  adam_eps: 1e-6,
  weight_decay: 0.01,
};

export const DEFAULT_JOINT_PRESET = 'tiny';

export const jointPresets: Readonly<Record<string, Preset>> = {
  tiny: {
    description: 'width 192, 4 shared blocks: minutes on one CPU',
    config: {
      model: {
        ...model,
        // A class loss counts by the sample, all others by the token: of many short samples it would drown them.
        cls_loss: 0.001,
        // Normalised over a sample's own tokens, targets would not hold what is the same all through a sound or a text.
        instance_norm_target_layer: false,
        batch_norm_target_layer: true,
        min_target_var: 0.1,
        min_pred_var: 0.01,
        depth: 4,
        embed_dim: 192,
        num_heads: 6,
        clone_batch: 4,
        average_top_k_layers: 4,
        ema_decay: 0.99,
        ema_end_decay: 0.998,
      },
      optimization: { max_update: 2400, lr: 1e-3, clip_norm: 4 },
      optimizer,
      lr_scheduler: { name: 'cosine', warmup_updates: 80 },
      checkpoint: { save_interval_updates: 800, keep_interval_updates: 1 },
      common: { log_interval: 50 },
    },
  },
  base: {
    description: "the original's multimodal model, 10 shared blocks of width 768: GPUs and days",
    config: {
      model: {
        ...model,
        depth: 10,
        embed_dim: 768,
        num_heads: 12,
        clone_batch: 16,
        average_top_k_layers: 10,
        ema_decay: 0.9998,
        ema_end_decay: 0.99999,
        ema_anneal_end_step: 100_000,
      },
      optimization: { max_update: 400_000, lr: 5e-4, clip_norm: 4, update_freq: 16 },
      optimizer,
      lr_scheduler: { name: 'cosine', warmup_updates: 50_040 },
      checkpoint: { save_interval_updates: 25_000, keep_interval_updates: 1 },
      common: { log_interval: 200 },
    },
  },
};
