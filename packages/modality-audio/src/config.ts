/** `model.modalities.audio`: the reference's `D2vAudioConfig`, key by key, and a switch of our own for padding. */
import { modalityConfigShape, z } from '@d2v/core';
import { type ConvSpec, PAPER_SPEC, parseConvSpec } from './conv-spec.js';

const positive = () => z.int().min(1);

const convSpec = z
  .union([z.string(), z.array(z.tuple([positive(), positive(), positive()]))])
  .superRefine((spec: ConvSpec, context) => {
    try {
      parseConvSpec(spec);
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message });
    }
  });

export const audioConfigSchema = z.strictObject({
  type: z.literal('AUDIO').default('AUDIO').describe('Kind of modality; always AUDIO here.'),
  ...modalityConfigShape,
  extractor_mode: z
    .enum(['layer_norm', 'default'])
    .default('layer_norm')
    .describe(
      'Norms of the feature encoder: layer norm in every layer, or (default) a norm over time in the first one only.',
    ),
  feature_encoder_spec: convSpec
    .default(PAPER_SPEC)
    .describe(
      'Convolutions of the feature encoder as [[dim, kernel, stride], ...], or as the original writes them.',
    ),
  conv_pos_width: positive()
    .default(95)
    .describe('Kernel widths of the positional convolutions, added up over conv_pos_depth.'),
  conv_pos_groups: positive().default(16).describe('Groups of the positional convolutions.'),
  conv_pos_depth: positive().default(5).describe('Number of positional convolutions.'),
  conv_pos_pre_ln: z.boolean().default(false).describe('A layer norm before the positional convolutions.'),
  blank_padding: z
    .boolean()
    .default(false)
    .describe(
      'Keep padding out of convolutions and norms, so that features do not depend on it; false: as the original.',
    ),
});

export type AudioConfig = z.output<typeof audioConfigSchema>;
