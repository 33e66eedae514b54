/**
 * Cutting a stream of tokens into samples, with the meaning that the original gives to the modes:
 *
 * - `none`: blocks of equal size, whatever is in them; the last one is what is left.
 * - `complete`: as many whole lines as fit.
 * - `complete_doc`: the same, but none beyond the end of a document; the empty lines between documents are left out.
 * - `eos`: one line each.
 *
 * A line that is longer than a block is cut into blocks (in the original it gives a sample that is too long).
 */
import type { BreakMode } from '../data-config.js';
import { SEPARATOR, STARTS_DOCUMENT } from './format.js';

/** Takes the first token, the number of tokens, and the first item of a block. */
export type OnBlock = (start: number, length: number, item: number) => void;

/** Sees items one after the other and gives blocks of at most `size` tokens. */
export class BlockCutter {
  /** Where the next item starts. */
  private place = 0;
  /** Number of the next item. */
  private item = 0;
  /** The block in the making. */
  private start = 0;
  private length = 0;
  private first = 0;

  constructor(
    private readonly mode: BreakMode,
    private readonly size: number,
    private readonly onBlock: OnBlock,
  ) {}

  add(length: number, flags: number): void {
    if (this.mode === 'none') this.fill(length);
    else this.join(length, flags);
    this.item++;
    this.place += length;
  }

  end(): void {
    this.close();
  }

  /** `none`: an item may give the end of one block, whole ones, and the beginning of another. */
  private fill(length: number): void {
    for (let rest = length; rest > 0; ) {
      if (this.length === 0) this.open(this.place + length - rest);
      const taken = Math.min(rest, this.size - this.length);
      this.length += taken;
      rest -= taken;
      if (this.length === this.size) this.close();
    }
  }

  private join(length: number, flags: number): void {
    const separator = (flags & SEPARATOR) !== 0;
    if (separator && this.mode !== 'complete') {
      this.close();
      return;
    }
    const newDocument = this.mode === 'complete_doc' && (flags & STARTS_DOCUMENT) !== 0;
    if (this.mode === 'eos' || newDocument || this.length + length > this.size) this.close();
    if (this.length === 0) this.open(this.place);
    this.length += length;
  }

  private open(start: number): void {
    this.start = start;
    this.first = this.item;
  }

  private close(): void {
    // A document of one token is its `</s>` alone.
    const least = this.mode === 'complete_doc' ? 2 : 1;
    for (let from = 0; this.length - from >= least; from += this.size) {
      this.onBlock(this.start + from, Math.min(this.size, this.length - from), this.first);
    }
    this.length = 0;
  }
}
