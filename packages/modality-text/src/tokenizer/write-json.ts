/** A learned byte-level encoding as a `tokenizer.json` that Hugging Face's libraries read. */
import { MASK_TOKEN, SPECIAL_TOKENS } from '../special-tokens.js';
import { BYTE_CHARS } from './byte-alphabet.js';

/**
 * @param merges pairs of names in the order they were learned
 * @returns the file's content
 */
export function writeTokenizerJson(merges: readonly (readonly [string, string])[]): Uint8Array {
  const names: string[] = [
    ...SPECIAL_TOKENS,
    ...[...BYTE_CHARS].sort(),
    ...merges.map((pair) => pair.join('')),
    MASK_TOKEN,
  ];
  const vocab = Object.fromEntries(names.map((name, id) => [name, id]));
  const added = [...SPECIAL_TOKENS, MASK_TOKEN].map((content) => ({
    id: vocab[content]!,
    content,
    single_word: false,
    lstrip: content === MASK_TOKEN,
    rstrip: false,
    normalized: false,
    special: true,
  }));
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const file = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: {
      type: 'RobertaProcessing',
      sep: [SPECIAL_TOKENS[2], 2],
      cls: [SPECIAL_TOKENS[0], 0],
      trim_offsets: true,
      add_prefix_space: false,
    },
    decoder: { ...byteLevel, add_prefix_space: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges: merges.map((pair) => [...pair]),
    },
  };
  return Buffer.from(`${JSON.stringify(file)}\n`);
}
