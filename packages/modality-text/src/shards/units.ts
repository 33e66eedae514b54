/**
 * Which text is held out. A document (or each 64 000 characters of a long one) goes to one side as a whole, by a hash of its
 * text: so copies stay on one side, and adding text never moves any from one side to the other.
 */
import { createHash, type Hash } from 'node:crypto';
import type { Piece } from '../corpus/read.js';
import { EOS } from '../special-tokens.js';
import { type Tokenizer, TokenList } from '../tokenizer/tokenizer.js';
import { STARTS_DOCUMENT } from './format.js';
import type { PartWriter } from './part-writer.js';

/** Documents are split behind so many characters. */
const LONGEST_UNIT = 64_000;

/** Text that stays together, as tokens. */
interface Unit {
  tokens: TokenList;
  items: { length: number; file: number; line: number; label: number; flags: number }[];
  heldOut: boolean;
  /** Whether it goes on where the unit before it ended. */
  continues: boolean;
}

export interface UnitOptions {
  tokenizer: Tokenizer;
  /** Share of the units that is held out. */
  share: number;
  /** The number of a class. */
  label(className: string | null): number;
  /** Whether documents of that file are separated by an empty line. */
  separated(file: number): boolean;
  train: PartWriter;
  valid: PartWriter;
}

/** Turns pieces into tokens and gives them to the two parts. */
export class UnitSplitter {
  private unit: Unit | null = null;
  /** Whether the next unit is the rest of a document. */
  private continues = false;
  private characters = 0;
  /** Whether the next piece goes on with the item of the one before it. */
  private inPair = false;
  private hash: Hash = createHash('sha256');
  /** The latest whole unit: held back, so that the last one can go to a side that got nothing. */
  private held: Unit | null = null;
  private lastPart: PartWriter | null = null;

  constructor(private readonly options: UnitOptions) {}

  add(piece: Piece): void {
    const { tokenizer, label } = this.options;
    if (piece.startsDocument || (this.characters >= LONGEST_UNIT && !this.inPair))
      this.close(!piece.startsDocument);
    this.unit ??= { tokens: new TokenList(), items: [], heldOut: false, continues: this.continues };
    const { tokens, items } = this.unit;
    const before = tokens.length;
    tokenizer.encode(piece.text, tokens);
    if (piece.endsItem || piece.endsFirst) tokens.push(EOS);
    // As RoBERTa has it: a pair is "first</s></s>second</s>", one item.
    if (piece.endsFirst) tokens.push(EOS);
    if (this.inPair) {
      items.at(-1)!.length += tokens.length - before;
    } else
      items.push({
        length: tokens.length - before,
        file: piece.file,
        line: piece.line,
        label: label(piece.className),
        flags: piece.startsDocument ? STARTS_DOCUMENT : 0,
      });
    this.inPair = piece.endsFirst || (this.inPair && !piece.endsItem);
    this.hash.update(piece.text);
    this.characters += piece.text.length + 1;
  }

  /** Gives away what is left. */
  end(): void {
    this.close(false);
    const { train, valid, share } = this.options;
    const last = this.held;
    if (!last) return;
    if (share > 0 && share < 1) {
      if (train.items === 0) last.heldOut = false;
      else if (valid.items === 0) last.heldOut = true;
    }
    this.write(last);
    this.held = null;
  }

  private close(nextContinues: boolean): void {
    const { unit } = this;
    if (!unit) return;
    const digest = this.hash.digest();
    unit.heldOut = digest.readUInt32BE(0) / 2 ** 32 < this.options.share;
    if (this.held) this.write(this.held);
    this.held = unit;
    this.hash = createHash('sha256');
    this.characters = 0;
    this.unit = null;
    this.continues = nextContinues;
  }

  private write(unit: Unit): void {
    const { train, valid, separated } = this.options;
    const part = unit.heldOut ? valid : train;
    // A part of a document that does not follow the part before it is a document of its own.
    if (!unit.continues || part !== this.lastPart) unit.items[0]!.flags |= STARTS_DOCUMENT;
    let from = 0;
    for (const item of unit.items) {
      const starts = (item.flags & STARTS_DOCUMENT) !== 0;
      if (starts && part.items > 0 && separated(item.file)) part.separate(item);
      part.add(item, unit.tokens.view(from, from + item.length));
      from += item.length;
    }
    this.lastPart = part;
  }
}
