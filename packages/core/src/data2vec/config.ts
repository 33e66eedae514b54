/**
 * The model section of a run config: the keys of the reference implementation (`Data2VecMultiConfig`), with its
 * defaults. Keys that the reference ties to other sections (`II(...)`) default to null and are filled in by the run
 * config, or by the model itself.
 */
import { z } from 'zod';

const rate = () => z.number().min(0).max(1);
const count = () => z.int().min(0);
const positive = () => z.int().min(1);

/** `decoder` of a modality, and `shared_decoder`. */
export const decoderConfigSchema = z.strictObject({
  decoder_dim: positive().default(384).describe('Channels of the decoder layers.'),
  decoder_groups: positive().default(16).describe('Groups of each decoder convolution; divides both widths.'),
  decoder_kernel: positive()
    .default(5)
    .describe('Kernel size of the convolutions. The length is kept; an even kernel drops the last output.'),
  decoder_layers: count().default(5).describe('Number of decoder layers.'),
  input_dropout: rate().default(0.1).describe("Dropout on the encoder's output before the decoder."),
  add_positions_masked: z
    .boolean()
    .default(false)
    .describe('Add the fixed positions to the noise tokens at masked places.'),
  add_positions_all: z.boolean().default(false).describe('Add the fixed positions to all decoder inputs.'),
  decoder_residual: z
    .boolean()
    .default(true)
    .describe('Residual connection around each decoder layer whose input and output widths agree.'),
  projection_layers: positive()
    .default(1)
    .describe('Linear layers after the convolutions (1-D decoders; GELU between them).'),
  projection_ratio: z
    .number()
    .positive()
    .default(2)
    .describe('Width of the hidden projection layers relative to decoder_dim, if there are several.'),
});

export type DecoderConfig = z.output<typeof decoderConfigSchema>;

/** The keys every modality has. A plugin spreads them into its own strict object and overrides defaults as it likes. */
export const modalityConfigShape = {
  prenet_depth: count()
    .default(4)
    .describe("Transformer blocks of the modality's own, before the shared ones."),
  prenet_layerdrop: rate().default(0).describe('Probability of skipping a prenet block during training.'),
  prenet_dropout: rate().default(0).describe('Dropout before the prenet blocks.'),
  start_drop_path_rate: rate().default(0).describe('Stochastic depth of the first prenet block.'),
  end_drop_path_rate: rate().default(0).describe('Stochastic depth of the last prenet block.'),
  num_extra_tokens: count()
    .default(0)
    .describe('Learned tokens put before the sequence; the last one is the class token.'),
  init_extra_token_zero: z
    .boolean()
    .default(true)
    .describe('Start the first extra token at zero instead of N(0, 1); any others are N(0, 1).'),
  mask_noise_std: z
    .number()
    .min(0)
    .default(0.01)
    .describe('Standard deviation of the noise at masked places.'),
  mask_prob_min: rate()
    .nullable()
    .default(null)
    .describe('If set, mask_prob is drawn for each update, uniformly from here up to mask_prob.'),
  mask_prob: rate().default(0.7).describe('Share of tokens to hide from the student.'),
  inverse_mask: z.boolean().default(false).describe('Choose the blocks to keep rather than those to hide.'),
  mask_prob_adjust: z
    .number()
    .min(-1)
    .max(1)
    .default(0)
    .describe('Added to the share when the number of blocks is chosen, to make up for their overlaps.'),
  keep_masked_pct: rate()
    .default(0)
    .describe('Share of the masked tokens that the student sees all the same.'),
  mask_length: positive().default(5).describe('Side of a block or length of a span; 1 masks single tokens.'),
  add_masks: z
    .boolean()
    .default(false)
    .describe('Give every row the largest mask count of the batch (by adding) instead of the smallest.'),
  remove_masks: z
    .boolean()
    .default(false)
    .describe('Accepted for compatibility; the original never reads it.'),
  mask_dropout: rate().default(0).describe('Share of each mask that is unmasked again at random.'),
  encoder_zero_mask: z
    .boolean()
    .default(true)
    .describe('Where masked tokens stay in the sequence, set them to zero; otherwise to noise.'),
  mask_channel_prob: rate()
    .default(0)
    .describe('Share of channels set to zero, where masked tokens stay in the sequence.'),
  mask_channel_length: positive().default(64).describe('Length of the spans of masked channels.'),
  ema_local_encoder: z
    .boolean()
    .default(false)
    .describe("Give the teacher its own local encoder; otherwise it uses the student's local features."),
  local_grad_mult: z
    .number()
    .min(0)
    .default(1)
    .describe("Factor on the local encoder's gradient; 0 freezes it."),
  use_alibi_encoder: z
    .boolean()
    .default(false)
    .describe('Add a distance penalty (ALiBi) to the attention scores.'),
  alibi_scale: z.number().default(1).describe('Initial factor on the ALiBi slopes.'),
  learned_alibi: z.boolean().default(false).describe('Learn the whole bias matrix, starting from ALiBi.'),
  alibi_max_pos: positive()
    .nullable()
    .default(null)
    .describe('Number of positions of the learned bias matrix; needed with learned_alibi.'),
  learned_alibi_scale: z
    .boolean()
    .default(false)
    .describe('Learn the factor on the slopes (kept at 0 or above).'),
  learned_alibi_scale_per_head: z.boolean().default(false).describe('One factor per attention head.'),
  learned_alibi_scale_per_layer: z.boolean().default(false).describe('One factor per transformer block.'),
  num_alibi_heads: positive()
    .nullable()
    .default(null)
    .describe('Heads that get the ALiBi penalty; null: all num_heads of the model.'),
  model_depth: count()
    .nullable()
    .default(null)
    .describe("Number of shared blocks, for per-layer ALiBi factors; null: the model's depth."),
  decoder: decoderConfigSchema
    .nullable()
    .default(decoderConfigSchema.parse({}))
    .describe("The modality's own decoder; null: only shared_decoder."),
};

/** A modality without keys of its own. */
export const modalityConfigBase = z.strictObject(modalityConfigShape);

/** What core reads of a modality's config; plugins may have more keys. */
export type ModalityConfig = z.output<typeof modalityConfigBase>;

/** The `model` section. Entries of `modalities` are parsed with the plugins' own schemas. */
export const modelConfigSchema = z.strictObject({
  loss_beta: z
    .number()
    .min(0)
    .default(0)
    .describe('Transition point of the smooth L1 loss; 0 means squared error.'),
  loss_scale: z
    .number()
    .nullable()
    .default(null)
    .describe('Factor on the loss per element; null: 1 / sqrt(width).'),
  depth: positive().default(8).describe('Number of shared transformer blocks.'),
  start_drop_path_rate: rate().default(0).describe('Stochastic depth of the first shared block.'),
  end_drop_path_rate: rate()
    .default(0)
    .describe('Stochastic depth of the last shared block (linear between).'),
  num_heads: positive().default(12).describe('Attention heads; divides embed_dim.'),
  norm_eps: z.number().positive().default(1e-6).describe("Epsilon of the blocks' layer norms."),
  norm_affine: z.boolean().default(true).describe("Learned scale and shift in the blocks' layer norms."),
  encoder_dropout: rate().default(0.1).describe('Dropout after the attention projection.'),
  post_mlp_drop: rate().default(0.1).describe('Dropout after the feed-forward part.'),
  attention_dropout: rate().default(0.1).describe('Dropout on attention weights.'),
  activation_dropout: rate().default(0).describe('Dropout inside the feed-forward part.'),
  dropout_input: rate().default(0).describe("Dropout on the shared blocks' input."),
  layerdrop: rate().default(0).describe('Probability of skipping a shared block during training.'),
  embed_dim: positive().default(768).describe('Width of the transformer.'),
  mlp_ratio: z
    .number()
    .positive()
    .default(4)
    .describe('Hidden width of the feed-forward part relative to embed_dim.'),
  layer_norm_first: z.boolean().default(false).describe('Pre-norm blocks instead of post-norm.'),
  average_top_k_layers: positive()
    .default(8)
    .describe('Teacher layers, from the top, averaged into the target.'),
  end_of_block_targets: z
    .boolean()
    .default(false)
    .describe("Take the blocks' outputs as targets; otherwise the feed-forward output before its residual."),
  clone_batch: positive().default(1).describe('Masked copies of each sample; the teacher sees it once.'),
  layer_norm_target_layer: z.boolean().default(false).describe('Layer norm on each target layer.'),
  batch_norm_target_layer: z
    .boolean()
    .default(false)
    .describe('Batch norm (no affine) on each target layer.'),
  instance_norm_target_layer: z
    .boolean()
    .default(false)
    .describe('Normalise each channel of each target layer over the sequence.'),
  instance_norm_targets: z
    .boolean()
    .default(false)
    .describe('Normalise each channel of the averaged target.'),
  layer_norm_targets: z.boolean().default(false).describe('Layer norm on the averaged target.'),
  ema_decay: rate().default(0.999).describe('Decay of the teacher average at the start.'),
  ema_same_dtype: z
    .boolean()
    .default(true)
    .describe("Run the teacher in the student's dtype. Its weights are kept in float32 either way."),
  log_norms: z.boolean().default(true).describe("Log the norms of the student's and the teacher's weights."),
  ema_end_decay: rate()
    .default(0.9999)
    .describe('Decay of the teacher average after annealing; 1 freezes it.'),
  ema_anneal_end_step: count()
    .nullable()
    .default(null)
    .describe('Updates over which the decay rises linearly; null: optimization.max_update.'),
  ema_encoder_only: z
    .boolean()
    .default(true)
    .describe('Average the shared blocks only; otherwise everything but the decoders.'),
  max_update: count().nullable().default(null).describe('Length of the run; null: optimization.max_update.'),
  modalities: z
    .record(z.string(), z.unknown())
    .default({})
    .describe('One section per modality; see its plugin for the keys.'),
  shared_decoder: decoderConfigSchema
    .nullable()
    .default(null)
    .describe('A 1-D decoder for all modalities, beside or instead of their own.'),
  min_target_var: z
    .number()
    .min(0)
    .default(0.1)
    .describe("Past 5000 updates, stop when the targets' standard deviation falls below this (collapse)."),
  min_pred_var: z
    .number()
    .min(0)
    .default(0.01)
    .describe(
      "Past 5000 updates, stop when the predictions' standard deviation falls below this (collapse).",
    ),
  supported_modality: z
    .string()
    .nullable()
    .default(null)
    .describe('Build only this modality of `modalities`; null: all of them.'),
  mae_init: z.boolean().default(false).describe('Xavier-uniform linear layers instead of N(0, 0.02).'),
  seed: z
    .int()
    .min(0)
    .nullable()
    .default(null)
    .describe('Seed of weights, masks and noise; null: common.seed.'),
  skip_ema: z.boolean().default(false).describe('Build the encoder only: no teacher and no decoders.'),
  cls_loss: z.number().min(0).default(0).describe('Weight of the class-token loss (needs extra tokens).'),
  recon_loss: z.number().min(0).default(0).describe('Weight of the reconstruction of the normalised input.'),
  d2v_loss: z.number().min(0).default(1).describe('Weight of the main loss.'),
  decoder_group: z.boolean().default(false).describe('Put the decoders in an optimizer group of their own.'),
});

export type ModelConfig = z.output<typeof modelConfigSchema>;
