/** Characters to lines, with long lines cut into parts. */

/** A line, or a part of one. */
export interface LinePart {
  text: string;
  /** 1-based. */
  line: number;
  /** Whether it begins and ends the line. */
  first: boolean;
  last: boolean;
}

const SPACE = /\p{White_Space}/u;

/**
 * Cuts characters, given in parts of any size, into lines; longer ones than `longest` into parts. They are cut in front
 * of single white space (not inside of words, if there is any), so that a tokenizer sees the same words.
 */
export class LineCutter {
  private pending = '';
  /** How far `pending` holds no line feed. */
  private searched = 0;
  private line = 1;
  private first = true;

  /** @param endsAtLineFeed false: everything is one line */
  constructor(
    private readonly longest: number,
    private readonly endsAtLineFeed: boolean,
    private readonly emit: (part: LinePart) => void,
  ) {}

  push(text: string): void {
    this.pending += text;
    let from = 0;
    for (;;) {
      const end = this.endsAtLineFeed ? this.pending.indexOf('\n', Math.max(from, this.searched)) : -1;
      if (end < 0) break;
      while (end - from > this.longest) from = this.cut(from);
      this.send(this.pending.slice(from, end), true);
      from = end + 1;
    }
    while (this.pending.length - from > this.longest) from = this.cut(from);
    this.pending = this.pending.slice(from);
    this.searched = this.pending.length;
  }

  /** Gives what is left. */
  end(): void {
    if (this.pending !== '' || !this.first) this.send(this.pending, true);
    this.pending = '';
  }

  private cut(from: number): number {
    const to = cutPlace(this.pending, from, from + this.longest);
    this.send(this.pending.slice(from, to), false);
    return to;
  }

  private send(text: string, last: boolean): void {
    this.emit({ text, line: this.line, first: this.first, last });
    this.first = last;
    if (last) this.line++;
  }
}

/** The last place in (from, to] where text can be cut without changing its words; `to` if there is none. */
function cutPlace(text: string, from: number, to: number): number {
  for (let at = to - 1; at > from; at--) {
    if (SPACE.test(text[at]!) && !SPACE.test(text[at + 1]!)) return at;
  }
  const code = text.charCodeAt(to - 1);
  return code >= 0xd800 && code < 0xdc00 && to - 1 > from ? to - 1 : to;
}
