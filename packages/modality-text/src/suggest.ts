import type { DeepPartial, RunConfigInput } from '@d2v/core';
import type { TextConfig } from './config.js';
import type { TextDataConfig } from './data-config.js';
import { DEFAULT_DATASET, datasets } from './datasets/index.js';
import { tokenizerFiles, vocabSizeOf } from './tokenizer/open.js';

const LEARNED_VOCABULARY = 8192;

/**
 * Settings that follow from others: the model gets a row per entry of the tokenizer's vocabulary, samples get as many tokens
 * as the model has positions, and a built-in dataset brings what suits it. Without a path, the data is the default dataset.
 */
export function suggestSettings(settings: DeepPartial<RunConfigInput>): DeepPartial<RunConfigInput> {
  const data: DeepPartial<RunConfigInput['data'] & TextDataConfig> = {};
  let scored: string | null = null;
  const given = (settings.data ?? {}) as Partial<RunConfigInput['data'] & TextDataConfig>;
  if (!given.path) {
    data.dataset = given.dataset ?? DEFAULT_DATASET;
    if (Object.hasOwn(datasets, data.dataset)) {
      const { suggested, scoredOn } = datasets[data.dataset]!;
      Object.assign(data, suggested);
      scored = scoredOn;
    }
  }
  const text = settings.model?.modalities?.text as Partial<TextConfig> | undefined;
  if (text?.max_source_positions !== undefined) data.tokens_per_sample = text.max_source_positions;
  const size = vocabSize(given, text);
  data.vocab_size = size;
  return { data, eval: { data: scored }, model: { modalities: { text: { vocab_size: size } } } };
}

function vocabSize(data: Partial<TextDataConfig>, text: Partial<TextConfig> | undefined): number {
  const { tokenizer } = data;
  if (typeof tokenizer === 'string') return vocabSizeOf(tokenizerFiles(tokenizer), tokenizer);
  return data.vocab_size ?? text?.vocab_size ?? LEARNED_VOCABULARY;
}
