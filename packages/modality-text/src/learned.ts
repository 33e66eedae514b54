/** The tokenizer that is learned from a corpus when none is named, kept beside the prepared text. */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { D2vError, explainCacheError, makeFolder, type OpenDataOptions, writeFileAtomic } from '@d2v/core';
import type { TextFile } from './corpus/files.js';
import { type CorpusOptions, readCorpus } from './corpus/read.js';
import { type Corpus, corpusKey, hashOf } from './shards/prepare.js';
import { TOKENIZER_JSON } from './tokenizer/hugging-face.js';
import { makeTokenizer } from './tokenizer/open.js';
import type { Tokenizer } from './tokenizer/tokenizer.js';
import { learnMerges, type TrainOptions, WordCounter } from './tokenizer/train.js';
import { writeTokenizerJson } from './tokenizer/write-json.js';

/** Raise it when the same text gives another vocabulary. */
const VERSION = 1;

/**
 * Learns a byte-level byte-pair encoding from files.
 * @param name of the text, for messages
 * @returns a `tokenizer.json`; its vocabulary is smaller than asked for if the text has no more pairs
 * @throws D2vError if there is no text
 */
export async function learnTokenizer(
  name: string,
  files: readonly TextFile[],
  corpus: CorpusOptions,
  options: TrainOptions,
  log: (message: string) => void,
): Promise<Uint8Array> {
  const counter = new WordCounter();
  const { damaged } = await readCorpus(files, corpus, { log, onPiece: ({ text }) => counter.add(text) });
  if (counter.entries().size === 0) {
    throw new D2vError(damaged[0]?.reason ?? `${name}: there is no text in it`);
  }
  return writeTokenizerJson(learnMerges(counter.entries(), options));
}

/** The tokenizer learned from a corpus, from the cache folder if it has been learned before. */
export async function learnedTokenizer(
  corpus: Corpus,
  vocabSize: number,
  { cacheDir, log }: Pick<OpenDataOptions, 'cacheDir' | 'log'>,
): Promise<Tokenizer> {
  const key = hashOf([VERSION, vocabSize, corpusKey(corpus)]);
  const path = join(cacheDir, 'text', `bpe-${key}.json`);
  try {
    let bytes: Uint8Array | null = await readFile(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null;
      throw error;
    });
    if (!bytes) {
      log(`learning a tokenizer of ${vocabSize} entries from ${corpus.name}`);
      // Not announced a second time: the text is read again when it is prepared.
      bytes = await learnTokenizer(corpus.name, corpus.files, corpus.options, { vocabSize }, () => {});
      await makeFolder(dirname(path));
      await writeFileAtomic(path, bytes);
    }
    return makeTokenizer({ [TOKENIZER_JSON]: bytes }, path);
  } catch (error) {
    throw explainCacheError(error, cacheDir);
  }
}
