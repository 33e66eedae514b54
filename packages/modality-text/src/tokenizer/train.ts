/**
 * Learning a byte-level byte-pair encoding. Words are counted while the corpus streams by; merges are then learned from
 * the counts, with pair counts that are kept up to date and a heap that gives the most frequent pair.
 */
import { D2vError } from '@d2v/core';
import { SPECIAL_TOKENS } from '../special-tokens.js';
import { BYTE_CHARS } from './byte-alphabet.js';
import { Heap } from './heap.js';
import { MAX_IDS, pairKey } from './merges.js';
import { wordEnd } from './words.js';

export interface TrainOptions {
  /** Entries of the vocabulary, the five special tokens and the 256 bytes included. */
  vocabSize: number;
  /** Pairs that are rarer are not merged. Default 2. */
  minFrequency?: number;
}

/** Entries that every vocabulary has: special tokens, bytes, `<mask>`. */
export const SMALLEST_VOCABULARY = SPECIAL_TOKENS.length + 256 + 1;
export const LARGEST_VOCABULARY = MAX_IDS - 1;

/** Distinct words that are kept by default: some hundred megabytes. */
const MOST_WORDS = 1 << 21;
/** Longer words (base64, rows of dashes) teach nothing and cost much. */
const LONGEST_WORD = 256;

/** Counts the words of a corpus, in bounded memory. */
export class WordCounter {
  private counts = new Map<string, number>();
  private least = 1;

  /** @param most distinct words that are kept; when there are more, the rare ones are dropped */
  constructor(private readonly most = MOST_WORDS) {}

  /** Adds a piece of text. Pieces should end between words. */
  add(text: string): void {
    for (let from = 0; from < text.length; ) {
      const to = wordEnd(text, from);
      if (to - from <= LONGEST_WORD) {
        const word = text.slice(from, to);
        const count = this.counts.get(word);
        // A copy as key: a part of a string keeps all of it in memory.
        if (count === undefined) this.counts.set(Buffer.from(word).toString(), 1);
        else this.counts.set(word, count + 1);
      }
      from = to;
    }
    while (this.counts.size > this.most) this.prune();
  }

  /** Words by count. */
  entries(): ReadonlyMap<string, number> {
    return this.counts;
  }

  private prune(): void {
    this.counts = new Map([...this.counts].filter(([, count]) => count > this.least));
    this.least++;
  }
}

/**
 * Learns merges. The same counts give the same merges: of pairs that are as frequent, that of the smaller ids is first.
 * @returns pairs of names, in order; fewer than asked for if the corpus has no more pairs
 */
export function learnMerges(words: ReadonlyMap<string, number>, options: TrainOptions): [string, string][] {
  const { vocabSize, minFrequency = 2 } = options;
  if (!Number.isInteger(vocabSize) || vocabSize < SMALLEST_VOCABULARY || vocabSize > LARGEST_VOCABULARY) {
    throw new D2vError(
      `a vocabulary of ${vocabSize} entries cannot be made: ask for ${SMALLEST_VOCABULARY} to ${LARGEST_VOCABULARY}`,
    );
  }
  const names = [...BYTE_CHARS].sort();
  const learner = new Learner(words, names);
  const merges: [string, string][] = [];
  while (merges.length < vocabSize - SMALLEST_VOCABULARY) {
    const best = learner.next(Math.max(1, minFrequency));
    if (!best) break;
    const [left, right] = best;
    merges.push([names[left]!, names[right]!]);
    names.push(names[left]! + names[right]!);
    learner.merge(left, right, names.length - 1);
  }
  return merges;
}

/** Words as symbols, with the counts of their pairs. */
class Learner {
  private readonly words: Int32Array[] = [];
  private readonly weights: number[] = [];
  private readonly counts = new Map<number, number>();
  /** Words that have had a pair at some time. */
  private readonly places = new Map<number, Set<number>>();
  private readonly queue = new Heap<Counted>(moreFrequent);

  constructor(words: ReadonlyMap<string, number>, names: readonly string[]) {
    const ids = new Map(names.map((name, id) => [name, id]));
    const byteIds = BYTE_CHARS.map((char) => ids.get(char)!);
    for (const [word, weight] of words) {
      const symbols = Int32Array.from(Buffer.from(word), (byte) => byteIds[byte]!);
      if (symbols.length < 2) continue;
      const index = this.words.push(symbols) - 1;
      this.weights.push(weight);
      for (let i = 0; i + 1 < symbols.length; i++) this.change(symbols[i]!, symbols[i + 1]!, weight, index);
    }
    for (const [key, count] of this.counts) this.queue.push({ key, count });
  }

  /** The most frequent pair, or null if none is as frequent as `least`. */
  next(least: number): [left: number, right: number] | null {
    for (;;) {
      const top = this.queue.pop();
      if (!top) return null;
      const count = this.counts.get(top.key) ?? 0;
      // Counts in the queue are those of the time they were put there: too high ones go back with the present one.
      if (count !== top.count) {
        if (count >= least) this.queue.push({ key: top.key, count });
        continue;
      }
      if (count < least) return null;
      return [Math.floor(top.key / MAX_IDS), top.key % MAX_IDS];
    }
  }

  /** Replaces a pair by one symbol in all words. */
  merge(left: number, right: number, result: number): void {
    const key = pairKey(left, right);
    const raised = new Set<number>();
    for (const index of this.places.get(key) ?? []) this.mergeIn(index, left, right, result, raised);
    this.places.delete(key);
    this.counts.delete(key);
    for (const pair of raised) this.queue.push({ key: pair, count: this.counts.get(pair)! });
  }

  private mergeIn(index: number, left: number, right: number, result: number, raised: Set<number>): void {
    const symbols = this.words[index]!;
    const weight = this.weights[index]!;
    let write = 0;
    for (let read = 0; read < symbols.length; read++, write++) {
      const fits = symbols[read] === left && read + 1 < symbols.length && symbols[read + 1] === right;
      if (!fits) {
        symbols[write] = symbols[read]!;
        continue;
      }
      const after = symbols[read + 2];
      if (write > 0) {
        this.change(symbols[write - 1]!, left, -weight, index);
        raised.add(this.change(symbols[write - 1]!, result, weight, index));
      }
      this.change(left, right, -weight, index);
      if (after !== undefined) {
        this.change(right, after, -weight, index);
        raised.add(this.change(result, after, weight, index));
      }
      symbols[write] = result;
      read++;
    }
    this.words[index] = symbols.subarray(0, write);
  }

  private change(left: number, right: number, by: number, index: number): number {
    const key = pairKey(left, right);
    this.counts.set(key, (this.counts.get(key) ?? 0) + by);
    if (by > 0) {
      const places = this.places.get(key);
      if (places) places.add(index);
      else this.places.set(key, new Set([index]));
    }
    return key;
  }
}

interface Counted {
  key: number;
  count: number;
}

/** By falling count, then by rising ids. */
const moreFrequent = (a: Counted, b: Counted) => a.count > b.count || (a.count === b.count && a.key < b.key);
