/** Opening text to train on: a built-in dataset or the user's own. */
import { basename } from 'node:path';
import { D2vError, type DataConfig, type DataSource, type OpenDataOptions } from '@d2v/core';
import { findText } from './corpus/files.js';
import type { BreakMode, TextDataConfig } from './data-config.js';
import { fetchText } from './datasets/built-in.js';
import { glueCorpus } from './datasets/glue/open.js';
import { DEFAULT_DATASET, datasetOf, type NamedDataset } from './datasets/index.js';
import { openOpenWebText } from './datasets/openwebtext/open.js';
import { learnedTokenizer } from './learned.js';
import { type Corpus, prepare } from './shards/prepare.js';
import { Shard } from './shards/shard.js';
import { textSource } from './source.js';
import { makeTokenizer, tokenizerFiles } from './tokenizer/open.js';
import type { Tokenizer } from './tokenizer/tokenizer.js';

type Settings = TextDataConfig & DataConfig;

/** Opens a part of `data.path`, or else of a dataset. @throws D2vError if it has no text */
export async function openTextData(data: Settings, options: OpenDataOptions): Promise<DataSource> {
  const named = data.path ? null : datasetOf(data.dataset ?? DEFAULT_DATASET);
  if (named?.kind === 'openwebtext') return openOpenWebText(data, options);
  const { corpus, license, settings } = await corpusOf(data, named, options);
  const tokenizer = await tokenizerOf(corpus, settings, options);
  const prepared = await prepare(corpus, tokenizer, options);
  const { split } = options;
  const mode = breakMode(settings);
  const parts = split === 'all' ? (['train', 'valid'] as const) : [split];
  const shards = parts.map((part) => new Shard(prepared, part, mode, settings.tokens_per_sample - 1));
  const limit = split === 'train' ? data.limit : 0;
  const source = textSource({ name: corpus.name, license, shards, assets: tokenizer.files, mode, limit });
  if (source.length > 0) return source;
  await source.close?.();
  const remedy = 'set data.valid_path, another data.valid_share, or use more text';
  throw new D2vError(`${corpus.name}: none of its text falls into the ${split} part: ${remedy}`);
}

/** Text with classes is taken line by line (or record by record), other text in full blocks. */
function breakMode(settings: Settings): BreakMode {
  const labelled = settings.label_field !== null || settings.label !== 'none';
  return settings.sample_break_mode ?? (labelled ? 'eos' : 'none');
}

interface Opened {
  corpus: Corpus;
  license?: string;
  settings: Settings;
}

type TextCorpus = Exclude<NamedDataset, { kind: 'openwebtext' }>;

async function corpusOf(data: Settings, named: TextCorpus | null, options: OpenDataOptions): Promise<Opened> {
  const common = { maxBadShare: data.max_bad_share, options: data };
  if (named === null) {
    const path = data.path!;
    const files = await findText(path);
    const validFiles = data.valid_path ? await findText(data.valid_path) : null;
    const name = basename(path) || path;
    return { corpus: { name, files, validFiles, validShare: data.valid_share, ...common }, settings: data };
  }
  if (named.kind === 'glue') {
    const corpus = await glueCorpus(named.dataset, data, options);
    return { corpus, license: named.dataset.license, settings: { ...data, ...corpus.options } };
  }
  const { dataset } = named;
  const settings = { ...data, ...dataset.fixed };
  const files = await findText(await fetchText(dataset, options));
  const { name, validShare, license } = dataset;
  return {
    corpus: { ...common, name, files, validFiles: null, validShare, options: settings },
    license,
    settings,
  };
}

async function tokenizerOf(
  corpus: Corpus,
  { tokenizer: name, vocab_size: size }: Settings,
  options: OpenDataOptions,
): Promise<Tokenizer> {
  if (options.assets) return makeTokenizer(options.assets, 'the checkpoint');
  if (name === null) return learnedTokenizer(corpus, size, options);
  const tokenizer = makeTokenizer(tokenizerFiles(name), name);
  if (tokenizer.vocabSize <= size) return tokenizer;
  throw new D2vError(
    `the tokenizer ${name} has ${tokenizer.vocabSize} entries, data.vocab_size is ${size}: leave it out, it follows from the tokenizer`,
  );
}
