import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';

type Numbers = Uint16Array | Int32Array | Float64Array;

/** A file that numbers are appended to, through a buffer. */
export class NumberFile<T extends Numbers> {
  private readonly file: number;
  private used = 0;

  /** @param buffer its type is that of the numbers in the file */
  constructor(
    path: string,
    private readonly buffer: T,
  ) {
    this.file = openSync(path, 'wx');
  }

  append(values: ArrayLike<number>): void {
    for (let from = 0; from < values.length; ) {
      const count = Math.min(values.length - from, this.buffer.length - this.used);
      for (let i = 0; i < count; i++) this.buffer[this.used + i] = values[from + i]!;
      this.used += count;
      from += count;
      if (this.used === this.buffer.length) this.flush();
    }
  }

  /** Writes what is left, flushes it to the disk, closes the file. */
  finish(): void {
    this.flush();
    fsyncSync(this.file);
    closeSync(this.file);
  }

  /** Closes the file as it is. */
  abandon(): void {
    closeSync(this.file);
  }

  private flush(): void {
    const bytes = Buffer.from(
      this.buffer.buffer,
      this.buffer.byteOffset,
      this.used * this.buffer.BYTES_PER_ELEMENT,
    );
    for (let done = 0; done < bytes.length; ) done += writeSync(this.file, bytes, done);
    this.used = 0;
  }
}
