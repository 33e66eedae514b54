/** Finding the tokenizer that the settings, or a checkpoint, speak of. */
import { readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type Assets, D2vError } from '@d2v/core';
import { DICTIONARY, ENCODER, gpt2Files, gpt2Tokenizer, gpt2VocabSize, MERGES } from './gpt2.js';
import { huggingFaceTokenizer, huggingFaceVocabSize, TOKENIZER_JSON } from './hugging-face.js';
import type { Tokenizer } from './tokenizer.js';

/** The name of the tokenizer that comes with the package. */
export const GPT2 = 'gpt2';

/** Builds a tokenizer from its files. @param label where they are from, for messages */
export function makeTokenizer(files: Assets, label: string): Tokenizer {
  const plain = Object.fromEntries(
    Object.entries(files).map(([name, bytes]) => [name, withoutBuffer(bytes)]),
  );
  return isGpt2(plain) ? gpt2Tokenizer(plain, label) : huggingFaceTokenizer(jsonOf(plain, label), label);
}

/** Plain bytes, which come out of a checkpoint as they went in. */
function withoutBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** The number of ids that a tokenizer's files make. */
export function vocabSizeOf(files: Assets, label: string): number {
  return isGpt2(files) ? gpt2VocabSize(files, label) : huggingFaceVocabSize(jsonOf(files, label), label);
}

/**
 * The files of the tokenizer that `data.tokenizer` names.
 * @throws D2vError if there is none
 */
export function tokenizerFiles(name: string): Assets {
  if (name === GPT2) return gpt2Files();
  const info = statSync(name, { throwIfNoEntry: false });
  if (!info) {
    throw new D2vError(
      `data.tokenizer: there is no file or folder ${name}: name a tokenizer.json, a folder with one, or ${GPT2}`,
    );
  }
  if (info.isDirectory()) {
    const whole = read(name, TOKENIZER_JSON);
    if (whole) return { [TOKENIZER_JSON]: whole };
    const files = fairseqFiles(name);
    if (files) return files;
    throw new D2vError(
      `data.tokenizer: ${name} has neither ${TOKENIZER_JSON} nor ${ENCODER} with ${MERGES}: name another folder`,
    );
  }
  if (basename(name) !== ENCODER && basename(name) !== MERGES)
    return { [TOKENIZER_JSON]: readFileSync(name) };
  const files = fairseqFiles(dirname(name));
  if (files) return files;
  throw new D2vError(
    `data.tokenizer: ${ENCODER} and ${MERGES} must be in one folder, ${dirname(name)} has one of them`,
  );
}

function fairseqFiles(folder: string): Assets | null {
  const [encoder, merges, dictionary] = [ENCODER, MERGES, DICTIONARY].map((name) => read(folder, name));
  if (!encoder || !merges) return null;
  return { [ENCODER]: encoder, [MERGES]: merges, ...(dictionary && { [DICTIONARY]: dictionary }) };
}

function read(folder: string, name: string): Uint8Array | null {
  try {
    return readFileSync(join(folder, name));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    throw new D2vError(`cannot read ${join(folder, name)} (${code})`, { cause: error });
  }
}

const isGpt2 = (files: Assets) => Object.hasOwn(files, ENCODER) && Object.hasOwn(files, MERGES);

function jsonOf(files: Assets, label: string): Uint8Array {
  const json = files[TOKENIZER_JSON];
  if (json) return json;
  throw new D2vError(`${label}: no tokenizer among ${Object.keys(files).join(', ') || 'its files'}`);
}
