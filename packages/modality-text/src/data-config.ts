/** Text keys of the `data` section. */
import { z } from '@d2v/core';
import { LARGEST_VOCABULARY, SMALLEST_VOCABULARY } from './tokenizer/train.js';

export const BREAK_MODES = ['none', 'complete', 'complete_doc', 'eos'] as const;
export type BreakMode = (typeof BREAK_MODES)[number];

export const textDataSchema = z.strictObject({
  tokenizer: z
    .string()
    .nullable()
    .default(null)
    .describe(
      'gpt2, a tokenizer.json, or a folder with one or with encoder.json and vocab.bpe; null = learn one of vocab_size',
    ),
  vocab_size: z
    .int()
    .min(SMALLEST_VOCABULARY)
    .max(LARGEST_VOCABULARY)
    .default(8192)
    .describe('entries of a learned vocabulary; otherwise follows from the tokenizer'),
  tokens_per_sample: z
    .int()
    .min(2)
    .default(512)
    .describe('most tokens of a sample, <s> included; follows model.modalities.text.max_source_positions'),
  sample_break_mode: z
    .enum(BREAK_MODES)
    .nullable()
    .default(null)
    .describe(
      'none: full blocks; complete: whole lines; complete_doc: and no document border within; eos: one line; null = eos if there are classes, else none',
    ),
  item: z
    .enum(['line', 'file'])
    .default('line')
    .describe('what ends with </s> in a text file: each line, or the whole file (JSONL: each record)'),
  field: z.string().min(1).default('text').describe('JSONL: the key of the text'),
  pair_field: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe('JSONL: the key of a second text, which follows behind </s></s>; null = texts are single'),
  label_field: z.string().min(1).nullable().default(null).describe('JSONL: the key of the class, if any'),
  label: z
    .enum(['top', 'parent', 'path', 'none'])
    .default('none')
    .describe('class of the files of a folder tree: first folder, their own folder, all folders, or none'),
});

export type TextDataConfig = z.output<typeof textDataSchema>;
