import type { Preset } from '@d2v/core';

export const presets: Record<string, Preset> = {
  tiny: {
    description: '64 wide, 4 blocks: a minute on one CPU',
    config: {
      model: {
        depth: 4,
        embed_dim: 64,
        num_heads: 4,
        norm_eps: 1e-5,
        encoder_dropout: 0,
        post_mlp_drop: 0,
        attention_dropout: 0,
        clone_batch: 4,
        average_top_k_layers: 4,
        instance_norm_target_layer: true,
        layer_norm_targets: true,
        ema_decay: 0.99,
        ema_end_decay: 0.999,
        min_target_var: 0.1,
        min_pred_var: 0.01,
        modalities: {
          timeseries: {
            prenet_depth: 0,
            // Spans overlap, and all rows of a batch get as few as the shortest: about 45 % are masked in the end.
            mask_prob: 0.85,
            mask_length: 3,
            ema_local_encoder: true,
            decoder: {
              decoder_dim: 64,
              decoder_groups: 8,
              decoder_kernel: 5,
              decoder_layers: 3,
              input_dropout: 0,
            },
          },
        },
      },
      data: { dataset: 'waveforms', batch_size: 32 },
      optimization: { max_update: 800, lr: 1e-3, clip_norm: 4 },
      optimizer: { adam_betas: [0.9, 0.98], adam_eps: 1e-6, weight_decay: 0.01 },
      lr_scheduler: { name: 'cosine', warmup_updates: 50 },
      checkpoint: { save_interval_updates: 400, keep_interval_updates: 1 },
      common: { log_interval: 25 },
    },
  },
};
