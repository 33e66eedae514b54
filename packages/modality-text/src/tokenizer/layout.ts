/** Bringing any vocabulary into the layout of the original's dictionaries. */
import { MASK_TOKEN, SPECIAL_TOKENS } from '../special-tokens.js';

/** What tokenizer files call the special tokens, in the order of their ids here; the first name that is there counts. */
const ROLES: readonly (readonly string[])[] = [
  ['<s>', '[CLS]', '<bos>', '<|begin_of_text|>'],
  ['<pad>', '[PAD]'],
  ['</s>', '[SEP]', '<eos>', '<|end_of_text|>'],
  ['<unk>', '[UNK]'],
];
const MASKS = ['<mask>', '[MASK]'];

/** A vocabulary in our layout. */
export interface Layout {
  vocabSize: number;
  /** Our ids by the file's. */
  ids: Map<number, number>;
  /** Names of the pieces of text by our ids. */
  names: Map<number, string>;
}

/**
 * Gives every piece of a file's vocabulary an id of ours: special tokens first (also those that the file has none of), the
 * rest in the file's order, `<mask>` last.
 * @param pieces the file's ids by name
 */
export function layOutVocabulary(pieces: ReadonlyMap<string, number>): Layout {
  const ids = new Map<number, number>();
  const names = new Map<number, string>();
  const special = new Set<string>();
  const assign = (candidates: readonly string[], id: number) => {
    const name = candidates.find((candidate) => pieces.has(candidate));
    if (name === undefined) return;
    special.add(name);
    ids.set(pieces.get(name)!, id);
  };
  for (const [id, candidates] of ROLES.entries()) assign(candidates, id);
  const mask = MASKS.find((name) => pieces.has(name));
  if (mask !== undefined) special.add(mask);
  let next: number = SPECIAL_TOKENS.length;
  const rest = [...pieces].filter(([name]) => !special.has(name)).sort(([, a], [, b]) => a - b);
  for (const [name, piece] of rest) {
    if (ids.has(piece)) continue;
    ids.set(piece, next);
    names.set(next++, name);
  }
  if (mask !== undefined) ids.set(pieces.get(mask)!, next);
  return { vocabSize: next + 1, ids, names };
}

/** The name of a special token, for messages. */
export function specialName(id: number, vocabSize: number): string | undefined {
  return id === vocabSize - 1 ? MASK_TOKEN : SPECIAL_TOKENS[id];
}
