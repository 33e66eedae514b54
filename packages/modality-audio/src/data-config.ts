/** Audio keys of the `data` section; `fairseq` has the same under `task`. */
import { LABEL_RULES, z } from '@d2v/core';

export const audioDataSchema = z.strictObject({
  sample_rate: z
    .int()
    .min(1000)
    .max(192_000)
    .default(16_000)
    .describe('Hz; what the model hears, whatever the files have'),
  max_sample_size: z
    .int()
    .min(1)
    .nullable()
    .default(320_000)
    .describe(
      'longest clip in samples; training draws one from every such part of a file; null = whole files',
    ),
  min_sample_size: z
    .int()
    .min(1)
    .default(32_000)
    .describe('training and evaluation leave out files with fewer samples'),
  normalize: z.boolean().default(true).describe('bring each clip to mean 0 and variance 1'),
  enable_padding: z
    .boolean()
    .default(false)
    .describe('training: pad the clips of a batch to the longest; false = crop all to the shortest'),
  label: z
    .enum(LABEL_RULES)
    .default('top')
    .describe('class of a file in a folder tree: first folder, its own folder, all folders, or none'),
});

export type AudioDataConfig = z.output<typeof audioDataSchema>;
