/** What the rest of the package knows of a tokenizer. */

/**
 * Text to tokens and back. Ids are laid out as in the original's dictionaries: `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, the
 * vocabulary, `<mask>` last.
 */
export interface Tokenizer {
  /** All ids are below it. */
  readonly vocabSize: number;
  /** Appends the tokens of a piece of text: no special tokens are added, and those spelled out in the text are text. */
  encode(text: string, out: TokenList): void;
  /** The text of tokens; special ones give none. */
  decode(ids: ArrayLike<number>): string;
  /** The files that make the tokenizer again, by name: what a checkpoint keeps. */
  readonly files: Readonly<Record<string, Uint8Array>>;
}

/** Token ids that grow. */
export class TokenList {
  private ids = new Int32Array(1024);
  /** How many there are. */
  length = 0;

  push(id: number): void {
    if (this.length === this.ids.length) this.grow(this.length + 1);
    this.ids[this.length++] = id;
  }

  append(ids: ArrayLike<number>): void {
    const length = this.length + ids.length;
    if (length > this.ids.length) this.grow(length);
    this.ids.set(ids, this.length);
    this.length = length;
  }

  /** The ids so far; valid until the next one is added. */
  view(from = 0, to = this.length): Int32Array {
    return this.ids.subarray(from, to);
  }

  /** Forgets the ids, keeps the memory. */
  clear(): void {
    this.length = 0;
  }

  private grow(least: number): void {
    const larger = new Int32Array(Math.max(least, 2 * this.ids.length));
    larger.set(this.ids.subarray(0, this.length));
    this.ids = larger;
  }
}
