/** `model.modalities.image`: the reference's `D2vImageConfig`, key by key. */
import { modalityConfigShape, z } from '@d2v/core';

export const imageConfigSchema = z.strictObject({
  type: z.literal('IMAGE').default('IMAGE').describe('Kind of modality; always IMAGE here.'),
  ...modalityConfigShape,
  input_size: z.int().min(1).default(224).describe('Height and width of the input in pixels.'),
  in_chans: z.int().min(1).default(3).describe('Input channels (3 = RGB).'),
  patch_size: z.int().min(1).default(16).describe('Side of a patch in pixels; one patch is one token.'),
  embed_dim: z
    .int()
    .min(1)
    .default(768)
    .describe("Width of the patch embedding; projected if it is not the model's embed_dim."),
  alibi_dims: z
    .union([z.literal(1), z.literal(2)])
    .default(2)
    .describe('Distances for ALiBi: 2 on the patch grid, 1 along the flattened sequence.'),
  alibi_distance: z
    .enum(['manhattan', 'euclidean'])
    .default('manhattan')
    .describe('Distance on the patch grid.'),
  fixed_positions: z
    .boolean()
    .default(true)
    .describe('Add fixed 2-D sin-cos positions to the patch features.'),
  transformer_decoder: z
    .boolean()
    .default(false)
    .describe('A transformer instead of convolutions as decoder.'),
  enc_dec_transformer: z
    .boolean()
    .default(false)
    .describe('With transformer_decoder: masked positions attend to the encoder output (cross-attention).'),
});

export type ImageConfig = z.output<typeof imageConfigSchema>;
