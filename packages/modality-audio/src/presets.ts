/**
 * Named configurations. `base` and `large` are the paper's (arXiv 2212.07525, appendix A) in the numbers of the published
 * configuration files; `update_freq` stands for the GPUs they were trained on, so that one device makes the same updates.
 */
import type { DeepPartial, Preset, RunConfigInput } from '@d2v/core';
import { PAPER_SPEC } from './conv-spec.js';
import type { AudioDataConfig } from './data-config.js';

type Settings = DeepPartial<RunConfigInput>;

/** What both of the paper's audio models share. */
const paper = {
  model: {
    loss_beta: 0,
    loss_scale: null,
    layer_norm_first: false,
    mlp_ratio: 4,
    norm_eps: 1e-5,
    encoder_dropout: 0.1,
    post_mlp_drop: 0.1,
    attention_dropout: 0.1,
    activation_dropout: 0,
    ema_encoder_only: false,
    instance_norm_target_layer: true,
    layer_norm_target_layer: false,
    layer_norm_targets: false,
    end_of_block_targets: false,
    supported_modality: 'AUDIO',
  },
  audio: {
    extractor_mode: 'layer_norm',
    feature_encoder_spec: PAPER_SPEC,
    conv_pos_depth: 5,
    conv_pos_width: 95,
    conv_pos_groups: 16,
    inverse_mask: false,
    mask_length: 5,
    mask_noise_std: 0.01,
    mask_dropout: 0,
    add_masks: false,
    ema_local_encoder: false,
    use_alibi_encoder: true,
    learned_alibi_scale: true,
    learned_alibi_scale_per_head: true,
    // The original pretrains on clips of one length, where this makes no difference.
    blank_padding: true,
  },
  decoder: { decoder_groups: 16, decoder_kernel: 7, decoder_layers: 4, input_dropout: 0.1 },
  run: {
    optimizer: { name: 'adam', adam_betas: [0.9, 0.98], adam_eps: 1e-6, weight_decay: 0.01 },
    checkpoint: { save_interval_updates: 25_000, keep_interval_updates: 1 },
    common: { log_interval: 200 },
  },
} satisfies { model: object; audio: object; decoder: object; run: Settings };

const base: Settings = {
  ...paper.run,
  model: {
    ...paper.model,
    depth: 12,
    embed_dim: 768,
    num_heads: 12,
    layerdrop: 0.05,
    average_top_k_layers: 8,
    clone_batch: 8,
    ema_decay: 0.999,
    ema_end_decay: 0.99999,
    ema_anneal_end_step: 75_000,
    modalities: {
      audio: {
        ...paper.audio,
        mask_prob: 0.5,
        mask_prob_adjust: 0.05,
        prenet_depth: 0,
        prenet_layerdrop: 0.05,
        prenet_dropout: 0.1,
        decoder: { ...paper.decoder, decoder_dim: 384 },
      },
    },
  },
  // 1 000 000 samples per device.
  data: { batch_size: null, batch_length: 62.5 },
  optimization: { max_update: 400_000, lr: 7.5e-4, update_freq: 8 },
  lr_scheduler: { name: 'cosine', warmup_updates: 8000 },
};

const large: Settings = {
  ...paper.run,
  model: {
    ...paper.model,
    depth: 16,
    embed_dim: 1024,
    num_heads: 16,
    layerdrop: 0,
    average_top_k_layers: 16,
    clone_batch: 12,
    ema_decay: 0.9997,
    ema_end_decay: 1,
    ema_anneal_end_step: 300_000,
    modalities: {
      audio: {
        ...paper.audio,
        mask_prob: 0.55,
        mask_prob_adjust: 0.1,
        prenet_depth: 8,
        prenet_layerdrop: 0,
        prenet_dropout: 0.1,
        decoder: { ...paper.decoder, decoder_dim: 768 },
      },
    },
  },
  data: { batch_size: null, batch_length: 20 },
  optimization: { max_update: 600_000, lr: 4e-4, clip_norm: 1, update_freq: 48 },
  lr_scheduler: { name: 'cosine', warmup_updates: 10_000 },
};

/** A tenth of a second to a second, whatever the data. */
const clips: Partial<AudioDataConfig> = { min_sample_size: 1600, max_sample_size: 16_000 };

/** Learns something on one CPU within minutes: the base model's recipe, narrower, on clips of a second. */
const tiny: Settings = {
  optimizer: paper.run.optimizer,
  model: {
    ...paper.model,
    // Normalised over time, targets would not hold what is the same all through a clip: the instrument.
    instance_norm_target_layer: false,
    batch_norm_target_layer: true,
    encoder_dropout: 0,
    post_mlp_drop: 0,
    attention_dropout: 0,
    min_target_var: 0.1,
    min_pred_var: 0.01,
    depth: 5,
    embed_dim: 192,
    num_heads: 6,
    clone_batch: 4,
    average_top_k_layers: 5,
    ema_decay: 0.99,
    ema_end_decay: 0.998,
    modalities: {
      audio: {
        ...paper.audio,
        feature_encoder_spec: '[(128, 10, 5)] + [(128, 3, 2)] * 4 + [(128, 2, 2)] * 2',
        mask_prob: 0.5,
        mask_prob_adjust: 0.05,
        prenet_depth: 0,
        decoder: { ...paper.decoder, decoder_dim: 192, decoder_layers: 3, input_dropout: 0 },
      },
    },
  },
  // Clips of up to a second, small batches, few masks: in so few minutes, many updates teach more.
  data: { ...clips, batch_size: 16, batch_length: 8 },
  optimization: { max_update: 1000, lr: 1e-3, clip_norm: 4 },
  lr_scheduler: { name: 'cosine', warmup_updates: 60 },
  // Few sounds per class: few neighbours.
  eval: { linear: true, k: 5 },
  checkpoint: { save_interval_updates: 500, keep_interval_updates: 1 },
  common: { log_interval: 25 },
};

export const presets: Record<string, Preset> = {
  tiny: { description: '20 ms tokens, 2.8 M parameters: minutes on one CPU, no GPU needed', config: tiny },
  base: { description: 'the paper: 12 blocks of width 768, clips of 2 to 20 s: GPUs and days', config: base },
  large: {
    description: 'the paper: 24 blocks of width 1024, clips of 2 to 20 s: many GPUs and days',
    config: large,
  },
};

/** With images and text in one model, sound has a class token as they have. */
const classToken = { num_extra_tokens: 1, init_extra_token_zero: false };

export const jointPresets: Record<string, Settings> = {
  tiny: { model: { modalities: { audio: classToken } } },
  base: { model: { modalities: { audio: classToken } } },
};
