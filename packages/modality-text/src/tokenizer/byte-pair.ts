/** Byte-level byte-pair encoding: any text has an encoding, and the encoding gives back the text. */
import { UNK } from '../special-tokens.js';
import { BYTE_CHARS, bytesOfName } from './byte-alphabet.js';
import { MAX_IDS, Merges } from './merges.js';

import type { TokenList } from './tokenizer.js';
import { wordEnd } from './words.js';

/** Words whose tokens are remembered; when there are more, all are forgotten. */
const CACHED_WORDS = 1 << 17;
/** Longer words are not remembered. */
const CACHED_LENGTH = 64;

export interface BytePairOptions {
  /** The tokenizer's own numbers of its pieces, which are named as `BYTE_CHARS` has it. */
  pieces: ReadonlyMap<string, number>;
  /** Pairs of names, in the order they were learned. */
  merges: Iterable<readonly [left: string, right: string]>;
  /** Ids by piece number; what is not there becomes `<unk>`. */
  ids: ReadonlyMap<number, number>;
  /** Put a space in front of text that begins without one. Default false. */
  addPrefixSpace?: boolean;
}

/** Encodes text by merges. */
export class BytePairEncoder {
  private readonly cache = new Map<string, number | Int32Array>();
  private readonly utf8 = new TextEncoder();
  private readonly merges = new Merges();
  /** Piece of each byte. */
  private readonly bytes: readonly number[];
  private readonly ids: ReadonlyMap<number, number>;
  private readonly addPrefixSpace: boolean;

  /** @throws Error if a merge speaks of pieces that there are none of */
  constructor({ pieces, merges, ids, addPrefixSpace = false }: BytePairOptions) {
    const piece = (name: string): number => {
      const number = pieces.get(name);
      if (number !== undefined) return number;
      throw new Error(`a merge speaks of "${name}", which is not in the vocabulary`);
    };
    for (const [left, right] of merges) this.merges.add(piece(left), piece(right), piece(left + right));
    this.bytes = BYTE_CHARS.map((char) => pieces.get(char) ?? MAX_IDS - 1);
    this.ids = ids;
    this.addPrefixSpace = addPrefixSpace;
  }

  /** Appends the tokens of a text. */
  encode(text: string, out: TokenList): void {
    const input = this.addPrefixSpace && text !== '' && !/^\s/u.test(text) ? ` ${text}` : text;
    for (let from = 0; from < input.length; ) {
      const to = wordEnd(input, from);
      const tokens = this.word(input.slice(from, to));
      if (typeof tokens === 'number') out.push(tokens);
      else out.append(tokens);
      from = to;
    }
  }

  private word(word: string): number | Int32Array {
    const known = this.cache.get(word);
    if (known !== undefined) return known;
    const bytes = this.utf8.encode(word);
    const symbols = Int32Array.from(bytes, (byte) => this.bytes[byte]!);
    const count = this.merges.apply(symbols);
    for (let i = 0; i < count; i++) symbols[i] = this.ids.get(symbols[i]!) ?? UNK;
    const tokens = count === 1 ? symbols[0]! : symbols.slice(0, count);
    if (word.length <= CACHED_LENGTH) {
      if (this.cache.size >= CACHED_WORDS) this.cache.clear();
      // A copy: a part of a string keeps all of it in memory.
      this.cache.set(Buffer.from(bytes).toString(), tokens);
    }
    return tokens;
  }
}

/**
 * Gives back the text of tokens.
 * @param nameOf the name of an id; undefined for what stands for no text
 */
export function decodeBytePairs(ids: ArrayLike<number>, nameOf: (id: number) => string | undefined): string {
  const parts: Uint8Array[] = [];
  for (let i = 0; i < ids.length; i++) {
    const name = nameOf(ids[i]!);
    if (name !== undefined) parts.push(bytesOfName(name) ?? Buffer.from(name));
  }
  return Buffer.concat(parts).toString();
}
