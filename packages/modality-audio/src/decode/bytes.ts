/** Reading files by range. */
import { open } from 'node:fs/promises';
import { BadSampleError } from '@d2v/core';

/** Bytes that can be read at any place. */
export interface ByteReader {
  readonly size: number;
  /** The same for the same content of the same file; null if that cannot be said. */
  readonly identity: string | null;
  /** Bytes from `position` on: as many as asked for, or fewer at the end. */
  read(position: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** Opens a file. @throws BadSampleError if that is not possible, or if it is empty */
export async function openBytes(path: string): Promise<ByteReader> {
  try {
    const handle = await open(path, 'r');
    try {
      const info = await handle.stat();
      if (info.isDirectory()) throw new BadSampleError(path, 'is a folder');
      if (info.size === 0) throw new BadSampleError(path, 'the file is empty');
      return {
        size: info.size,
        identity: `${path}:${info.size}:${info.mtimeMs}`,
        async read(position, length) {
          const wanted = Math.max(0, Math.min(length, info.size - position));
          const buffer = Buffer.allocUnsafe(wanted);
          let filled = 0;
          while (filled < wanted) {
            const { bytesRead } = await handle.read(buffer, filled, wanted - filled, position + filled);
            if (bytesRead === 0) break;
            filled += bytesRead;
          }
          return buffer.subarray(0, filled);
        },
        close: () => handle.close(),
      };
    } catch (error) {
      await handle.close();
      throw error;
    }
  } catch (error) {
    if (error instanceof BadSampleError) throw error;
    const code = (error as NodeJS.ErrnoException).code;
    const reason =
      code === 'ENOENT' ? 'the file does not exist (any more)' : `cannot be read (${code ?? String(error)})`;
    throw new BadSampleError(path, reason, { cause: error });
  }
}

/** Where a file lies in another one, such as a tar shard. */
export interface BytePart {
  offset: number;
  bytes: number;
}

/**
 * A part of an open file as if it were a file by itself; closing it closes the whole.
 * @param name for messages
 * @throws BadSampleError if the whole ends before
 */
export function partOfBytes(whole: ByteReader, { offset, bytes }: BytePart, name: string): ByteReader {
  if (bytes === 0) throw new BadSampleError(name, 'the file is empty');
  if (offset + bytes > whole.size) throw new BadSampleError(name, 'the archive that holds it is cut off');
  return {
    size: bytes,
    identity: whole.identity && `${whole.identity}:${offset}:${bytes}`,
    read: (position, length) =>
      whole.read(offset + position, Math.max(0, Math.min(length, bytes - position))),
    close: () => whole.close(),
  };
}

/** Bytes that are in memory. */
export function memoryBytes(bytes: Uint8Array): ByteReader {
  return {
    size: bytes.length,
    identity: null,
    read: async (position, length) => bytes.subarray(position, position + length),
    close: async () => {},
  };
}

/** The big-endian or little-endian numbers of a few bytes. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Characters of a tag such as `RIFF`. */
export function tagAt(bytes: Uint8Array, at: number, length = 4): string {
  return String.fromCharCode(...bytes.subarray(at, at + length));
}
