/** Byte-pair merges: which neighbouring tokens become which one, and in which order. */

import { Heap } from './heap.js';

/** Ids stay below this, so that a pair of them is one exact number. */
export const MAX_IDS = 2 ** 24;

/** The key of a pair of ids. */
export const pairKey = (left: number, right: number): number => left * MAX_IDS + right;

/** Merges by pair, with the order they were learned in. */
export class Merges {
  private readonly ranks = new Map<number, number>();
  private readonly results: number[] = [];

  /** Adds the next merge. Of two merges of one pair the first counts. */
  add(left: number, right: number, result: number): void {
    const key = pairKey(left, right);
    if (!this.ranks.has(key)) this.ranks.set(key, this.results.length);
    this.results.push(result);
  }

  /**
   * Merges the symbols of one word, the earliest learned pair first, of equal ones the leftmost.
   * @param symbols is used up
   * @returns how many symbols are left at the front of `symbols`
   */
  apply(symbols: Int32Array): number {
    return symbols.length <= SHORT ? this.applyShort(symbols) : this.applyLong(symbols);
  }

  /** By looking through all pairs for each merge: quadratic, and fastest for words. */
  private applyShort(symbols: Int32Array): number {
    let { length } = symbols;
    const ranks: number[] = [];
    for (let i = 0; i + 1 < length; i++) ranks.push(this.rank(symbols[i]!, symbols[i + 1]!));
    while (length > 1) {
      let at = -1;
      let best = Number.POSITIVE_INFINITY;
      for (let i = 0; i + 1 < length; i++) {
        if (ranks[i]! < best) {
          best = ranks[i]!;
          at = i;
        }
      }
      if (at < 0) break;
      symbols[at] = this.results[best]!;
      symbols.copyWithin(at + 1, at + 2, length);
      ranks.splice(at, 1);
      length--;
      if (at > 0) ranks[at - 1] = this.rank(symbols[at - 1]!, symbols[at]!);
      if (at + 1 < length) ranks[at] = this.rank(symbols[at]!, symbols[at + 1]!);
    }
    return length;
  }

  /** With a heap of pairs over a linked list: n log n, for "words" of any length. */
  private applyLong(symbols: Int32Array): number {
    const { length } = symbols;
    const next = Int32Array.from(symbols, (_, i) => i + 1);
    const previous = Int32Array.from(symbols, (_, i) => i - 1);
    const queue = new Heap<Queued>(earlier);
    const offer = (at: number) => {
      const rank = next[at]! < length ? this.rank(symbols[at]!, symbols[next[at]!]!) : Infinity;
      if (rank < Infinity) queue.push({ rank, at });
    };
    for (let i = 0; i < length; i++) offer(i);
    for (let top = queue.pop(); top; top = queue.pop()) {
      const { rank, at } = top;
      const right = next[at]!;
      // The pair may have been merged into something else since it was queued.
      if (symbols[at]! < 0 || right >= length || this.rank(symbols[at]!, symbols[right]!) !== rank) continue;
      symbols[at] = this.results[rank]!;
      symbols[right] = -1;
      next[at] = next[right]!;
      if (next[at]! < length) previous[next[at]!] = at;
      if (previous[at]! >= 0) offer(previous[at]!);
      offer(at);
    }
    let count = 0;
    for (let i = 0; i < length; i = next[i]!) symbols[count++] = symbols[i]!;
    return count;
  }

  private rank(left: number, right: number): number {
    return this.ranks.get(pairKey(left, right)) ?? Infinity;
  }
}

/** Longest word for the quadratic way. */
const SHORT = 48;

interface Queued {
  rank: number;
  at: number;
}

/** By rank, then by place. */
const earlier = (a: Queued, b: Queued) => a.rank < b.rank || (a.rank === b.rank && a.at < b.at);
