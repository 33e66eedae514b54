import { z } from '@d2v/core';
import { GPT2 } from '../../tokenizer/open.js';

export const openWebTextOptions = z.strictObject({
  source: z
    .enum(['zenodo', 'hub'])
    .default('zenodo')
    .describe('zenodo: one archive of 12.9 GB; hub: parquet files of the Hugging Face hub'),
  parts: z
    .int()
    .min(1)
    .nullable()
    .default(null)
    .describe('hub: only its first so many files, of about 100 000 documents each; null = all'),
  tokenizer: z
    .string()
    .min(1)
    .default(GPT2)
    .describe('gpt2, a tokenizer.json, or a folder with one or with encoder.json and vocab.bpe'),
  valid_share: z
    .number()
    .min(0)
    .max(1)
    .default(0.0005)
    .describe('share of the documents that is held out, chosen by a hash of their text'),
});

export type OpenWebTextOptions = z.output<typeof openWebTextOptions>;
