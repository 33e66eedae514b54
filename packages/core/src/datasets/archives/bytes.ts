/** Reading a file or a stream in pieces of known length. */
import { type FileHandle, open } from 'node:fs/promises';
import { ArchiveError } from './limits.js';

/** Bytes in order. `take` fails when the source ends before. */
export interface ByteReader {
  /** Bytes taken and skipped so far. */
  readonly position: number;
  /** Exactly that many bytes; null at the very end of the source. */
  take(count: number): Promise<Buffer | null>;
  /** At least one and at most so many bytes, as they come. */
  some(most: number): Promise<Buffer>;
  skip(count: number): Promise<void>;
  /** Takes what is left, so that whatever stands behind the content (a checksum of the compression) is looked at. */
  finish(): Promise<void>;
  close(): Promise<void>;
}

const BLOCK = 256 << 10;

/** Reads a stream. @param archive for messages */
export class StreamReader implements ByteReader {
  private readonly iterator: AsyncIterator<Buffer>;
  private buffer: Buffer = Buffer.alloc(0);
  position = 0;

  constructor(
    source: AsyncIterable<Buffer>,
    private readonly archive: string,
  ) {
    this.iterator = source[Symbol.asyncIterator]();
  }

  async take(count: number): Promise<Buffer | null> {
    if (this.buffer.length < count) {
      const parts = [this.buffer];
      let length = this.buffer.length;
      while (length < count) {
        const next = await this.pull();
        if (!next) {
          if (length === 0) return null;
          throw cutOff(this.archive, this.position + length);
        }
        parts.push(next);
        length += next.length;
      }
      this.buffer = Buffer.concat(parts);
    }
    return this.cut(count);
  }

  async some(most: number): Promise<Buffer> {
    if (this.buffer.length === 0) {
      const next = await this.pull();
      if (!next) throw cutOff(this.archive, this.position);
      this.buffer = next;
    }
    return this.cut(Math.min(most, this.buffer.length));
  }

  async skip(count: number): Promise<void> {
    for (let left = count; left > 0; ) left -= (await this.some(left)).length;
  }

  async finish(): Promise<void> {
    while (await this.pull());
  }

  async close(): Promise<void> {
    await this.iterator.return?.();
  }

  private cut(count: number): Buffer {
    const piece = this.buffer.subarray(0, count);
    this.buffer = this.buffer.subarray(count);
    this.position += count;
    return piece;
  }

  private async pull(): Promise<Buffer | null> {
    for (;;) {
      const { done, value } = await this.iterator.next();
      if (done) return null;
      if (value.length > 0) return value;
    }
  }
}

/** Reads a file; what is skipped is not read. */
export class FileReader implements ByteReader {
  private buffer: Buffer = Buffer.alloc(0);
  position = 0;

  private constructor(
    private readonly file: FileHandle,
    private readonly size: number,
    private readonly archive: string,
  ) {}

  static async open(path: string, archive = path): Promise<FileReader> {
    const file = await open(path, 'r');
    return new FileReader(file, (await file.stat()).size, archive);
  }

  async take(count: number): Promise<Buffer | null> {
    if (this.position >= this.size) return null;
    if (this.position + count > this.size) throw cutOff(this.archive, this.size);
    if (this.buffer.length < count) {
      const kept = this.buffer.length;
      const length = Math.min(Math.max(BLOCK, count), this.size - this.position);
      const next = Buffer.allocUnsafe(length);
      this.buffer.copy(next);
      for (let done = kept; done < length; ) {
        const { bytesRead } = await this.file.read(next, done, length - done, this.position + done);
        if (bytesRead === 0) throw cutOff(this.archive, this.position + done);
        done += bytesRead;
      }
      this.buffer = next;
    }
    return this.cut(count);
  }

  async some(most: number): Promise<Buffer> {
    const bytes = await this.take(Math.min(most, BLOCK, this.size - this.position));
    if (!bytes) throw cutOff(this.archive, this.size);
    return bytes;
  }

  async skip(count: number): Promise<void> {
    if (this.position + count > this.size) throw cutOff(this.archive, this.size);
    this.cut(count);
  }

  async finish(): Promise<void> {
    // A plain file: nothing follows that matters.
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  private cut(count: number): Buffer {
    const piece = this.buffer.subarray(0, count);
    this.buffer = this.buffer.subarray(Math.min(count, this.buffer.length));
    this.position += count;
    return piece;
  }
}

const cutOff = (archive: string, at: number) =>
  new ArchiveError(archive, null, `it is cut off at byte ${at}`);
