import { join } from 'node:path';
import { EOS } from '../special-tokens.js';
import { NumberFile } from './file-buffer.js';
import { type Part, SEPARATOR } from './format.js';

const BUFFERED = 1 << 18;

/** A line, record or file of a part. */
export interface Item {
  file: number;
  line: number;
  label: number;
  flags: number;
}

/** Writes the tokens and the items of one part. */
export class PartWriter {
  tokens = 0;
  items = 0;
  private readonly tokenFile: NumberFile<Uint16Array | Int32Array>;
  private readonly itemFile: NumberFile<Int32Array>;

  /** @param width bytes per token */
  constructor(folder: string, part: Part, width: 2 | 4) {
    const buffer = width === 2 ? new Uint16Array(BUFFERED) : new Int32Array(BUFFERED);
    this.tokenFile = new NumberFile(join(folder, `${part}.tokens`), buffer);
    this.itemFile = new NumberFile(join(folder, `${part}.items`), new Int32Array(BUFFERED));
  }

  add({ file, line, label, flags }: Item, tokens: Int32Array): void {
    this.tokenFile.append(tokens);
    this.itemFile.append([tokens.length, file, line, label, flags]);
    this.tokens += tokens.length;
    this.items++;
  }

  /** Adds the empty line between documents. */
  separate(next: Item): void {
    this.add({ ...next, label: -1, flags: SEPARATOR }, Int32Array.of(EOS));
  }

  finish(): void {
    this.tokenFile.finish();
    this.itemFile.finish();
  }

  abandon(): void {
    this.tokenFile.abandon();
    this.itemFile.abandon();
  }
}
