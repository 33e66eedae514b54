import type { DeepPartial, RunConfigInput } from '@d2v/core';
import type { TextConfig } from './config.js';
import type { TextDataConfig } from './data-config.js';
import { DEFAULT_DATASET, datasetOf, datasets } from './datasets/index.js';
import { GPT2, tokenizerFiles, vocabSizeOf } from './tokenizer/open.js';

type Given = RunConfigInput['data'] & TextDataConfig;

const LEARNED_VOCABULARY = 8192;

/**
 * Settings that follow from others: the model gets a row per entry of the tokenizer's vocabulary, samples get as many tokens
 * as the model has positions, and a built-in dataset brings what suits it. Without a path, the data is the default dataset.
 */
export function suggestSettings(settings: DeepPartial<RunConfigInput>): DeepPartial<RunConfigInput> {
  const data: DeepPartial<Given> = {};
  let scored: string | null = null;
  const given = (settings.data ?? {}) as Partial<Given>;
  if (!given.path) {
    data.dataset = given.dataset ?? DEFAULT_DATASET;
    if (Object.hasOwn(datasets, data.dataset)) {
      const named = datasetOf(data.dataset);
      if (named.kind === 'built-in') {
        Object.assign(data, named.dataset.suggested);
        scored = named.dataset.scoredOn;
      } else if (named.kind === 'openwebtext') Object.assign(data, tokensOf(given));
    }
  }
  const text = settings.model?.modalities?.text as Partial<TextConfig> | undefined;
  if (text?.max_source_positions !== undefined) data.tokens_per_sample = text.max_source_positions;
  const size = vocabSize({ ...data, ...given, tokenizer: given.tokenizer ?? data.tokenizer }, text);
  data.vocab_size = size;
  return { data, eval: { data: scored }, model: { modalities: { text: { vocab_size: size } } } };
}

/** Token shards are made with a tokenizer, which the model then has, too: the two settings follow each other. */
function tokensOf({ tokenizer, dataset_options: options }: Partial<Given>): DeepPartial<Given> {
  const chosen = options?.tokenizer;
  if (typeof chosen === 'string') return { tokenizer: chosen };
  // GPT-2's is the dataset's own choice: not stated, so that shards that the user has made otherwise are found.
  if (typeof tokenizer === 'string' && tokenizer !== GPT2) return { dataset_options: { tokenizer } };
  return { tokenizer: GPT2 };
}

function vocabSize(data: Partial<TextDataConfig>, text: Partial<TextConfig> | undefined): number {
  const { tokenizer } = data;
  if (typeof tokenizer === 'string') return vocabSizeOf(tokenizerFiles(tokenizer), tokenizer);
  return data.vocab_size ?? text?.vocab_size ?? LEARNED_VOCABULARY;
}
