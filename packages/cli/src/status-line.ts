import { colorsOf } from './colors.js';

/** The part of a stream that is needed; process.stdout, or a recorder in tests. */
export interface Output {
  isTTY?: boolean;
  columns?: number;
  write(text: string): unknown;
}

/** One line at the bottom of a terminal that is redrawn in place, with messages scrolling above it. */
export class StatusLine {
  /** For the messages: they come out on the same stream. */
  readonly colors: ReturnType<typeof colorsOf>;
  private text = '';

  constructor(private readonly output: Output) {
    this.colors = colorsOf(output);
  }

  draw(text: string): void {
    this.output.write(`\r${text}\u001b[K`);
    this.text = text;
  }

  clear(): void {
    if (this.text) this.output.write('\r\u001b[K');
    this.text = '';
  }

  /** A message above the line. */
  print(message: string): void {
    const { text } = this;
    this.clear();
    this.output.write(`${message}\n`);
    if (text) this.draw(text);
  }
}
