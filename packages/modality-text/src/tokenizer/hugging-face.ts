/** Tokenizers in Hugging Face's format, `tokenizer.json`. Byte-level encodings are ours to run; others are its library's. */
import { D2vError, z } from '@d2v/core';
import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import { BytePairEncoder, decodeBytePairs } from './byte-pair.js';
import { layOutVocabulary } from './layout.js';
import type { Tokenizer } from './tokenizer.js';

export const TOKENIZER_JSON = 'tokenizer.json';

const pair = z.union([z.string(), z.tuple([z.string(), z.string()])]);
const fileSchema = z.looseObject({
  added_tokens: z
    .array(z.looseObject({ id: z.int(), content: z.string(), special: z.boolean().default(false) }))
    .nullish(),
  normalizer: z.unknown().optional(),
  pre_tokenizer: z
    .looseObject({
      type: z.string(),
      add_prefix_space: z.boolean().optional(),
      use_regex: z.boolean().optional(),
    })
    .nullish(),
  model: z.looseObject({
    type: z.enum(['BPE', 'WordPiece', 'Unigram']).optional(),
    vocab: z.union([
      z.record(z.string(), z.int().min(0)),
      z
        .array(z.tuple([z.string(), z.number()]))
        .transform((list) => Object.fromEntries(list.map(([name], id) => [name, id]))),
    ]),
    merges: z.array(pair).optional(),
    dropout: z.number().nullish(),
    byte_fallback: z.boolean().nullish(),
    ignore_merges: z.boolean().nullish(),
    continuing_subword_prefix: z.string().nullish(),
    end_of_word_suffix: z.string().nullish(),
  }),
});

type TokenizerFile = z.output<typeof fileSchema>;

/**
 * A tokenizer from the content of a `tokenizer.json`.
 * @param label where it is from, for messages
 * @throws D2vError if it is not such a file, or of a kind that the library does not know
 */
export function huggingFaceTokenizer(bytes: Uint8Array, label: string): Tokenizer {
  const file = parse(bytes, label);
  const pieces = piecesOf(file);
  const { vocabSize, ids, names } = layOutVocabulary(pieces);
  const files = { [TOKENIZER_JSON]: bytes };
  if (isPlainByteLevel(file)) {
    const encoder = make(label, () => {
      const merges = (file.model.merges ?? []).map((entry) => splitPair(entry));
      const addPrefixSpace = file.pre_tokenizer?.add_prefix_space ?? true;
      return new BytePairEncoder({ pieces, merges, ids, addPrefixSpace });
    });
    return {
      vocabSize,
      files,
      encode: (text, out) => encoder.encode(text, out),
      decode: (tokens) => decodeBytePairs(tokens, (id) => names.get(id)),
    };
  }
  const library = make(label, () => new LibraryTokenizer(JSON.parse(Buffer.from(bytes).toString()), {}));
  const original = new Map([...ids].map(([piece, id]) => [id, piece]));
  return {
    vocabSize,
    files,
    encode(text, out) {
      for (const piece of library.encode(text, { add_special_tokens: false }).ids) {
        out.push(ids.get(piece)!);
      }
    },
    decode: (tokens) =>
      library.decode(
        Array.from(tokens).flatMap((id) => original.get(id) ?? []),
        { skip_special_tokens: true },
      ),
  };
}

/** The number of ids such a file makes, without building the tokenizer. */
export function huggingFaceVocabSize(bytes: Uint8Array, label: string): number {
  return layOutVocabulary(piecesOf(parse(bytes, label))).vocabSize;
}

function parse(bytes: Uint8Array, label: string): TokenizerFile {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString());
  } catch (error) {
    throw new D2vError(`${label} is not JSON: ${(error as Error).message}`, { cause: error });
  }
  const parsed = fileSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue!.path.join('.') || 'the file';
  throw new D2vError(`${label} is not a tokenizer.json: ${where}: ${issue!.message}`);
}

function piecesOf({ model, added_tokens }: TokenizerFile): Map<string, number> {
  const pieces = new Map(Object.entries(model.vocab));
  for (const { content, id } of added_tokens ?? []) pieces.set(content, id);
  return pieces;
}

/** Whether nothing but GPT-2's steps is asked for: words by its pattern, merges of bytes. */
function isPlainByteLevel({ model, normalizer, pre_tokenizer, added_tokens }: TokenizerFile): boolean {
  const type = model.type ?? (model.merges ? 'BPE' : '');
  const plain = !model.dropout && !model.byte_fallback && !model.ignore_merges;
  const affixes = model.continuing_subword_prefix || model.end_of_word_suffix;
  if (type !== 'BPE' || !model.merges || !plain || affixes) return false;
  // Added words are found in the text before anything else.
  if ((added_tokens ?? []).some((token) => !token.special)) return false;
  return (
    (normalizer ?? null) === null && pre_tokenizer?.type === 'ByteLevel' && pre_tokenizer.use_regex !== false
  );
}

/** "left right", or the two in a list. */
function splitPair(entry: string | [string, string]): [string, string] {
  if (typeof entry !== 'string') return entry;
  const blank = entry.indexOf(' ');
  return [entry.slice(0, blank), entry.slice(blank + 1)];
}

function make<T>(label: string, build: () => T): T {
  try {
    return build();
  } catch (error) {
    throw new D2vError(`${label} cannot be used: ${(error as Error).message}`, { cause: error });
  }
}
