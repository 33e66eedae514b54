/** `model.modalities.text`: the reference's `D2vTextConfig`, key by key, and the size of the vocabulary. */
import { modalityConfigShape, z } from '@d2v/core';

export const textConfigSchema = z.strictObject({
  type: z.literal('TEXT').default('TEXT').describe('Kind of modality; always TEXT here.'),
  ...modalityConfigShape,
  vocab_size: z
    .int()
    .min(5)
    .default(50_262)
    .describe('Rows of the token embedding, special tokens included; follows from the tokenizer.'),
  max_source_positions: z
    .int()
    .min(1)
    .default(512)
    .describe('Most tokens of a sample, special ones included.'),
  learned_pos: z.boolean().default(true).describe('Learned positions; otherwise fixed sines and cosines.'),
  dropout: z.number().min(0).max(1).default(0.1).describe('Dropout on the embedded tokens.'),
  no_scale_embedding: z
    .boolean()
    .default(true)
    .describe('Leave the token embeddings as they are; otherwise multiply them by sqrt(embed_dim).'),
  layernorm_embedding: z.boolean().default(true).describe('Layer norm on the embedded tokens.'),
  no_token_positional_embeddings: z.boolean().default(false).describe('Leave out the positions.'),
});

export type TextConfig = z.output<typeof textConfigSchema>;
