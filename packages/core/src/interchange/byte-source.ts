/** Random access to bytes: a file that is read in pieces, or memory. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { D2vError } from '../errors.js';

export interface ByteSource {
  /** For messages. */
  readonly name: string;
  readonly size: number;
  /** A fresh copy of `length` bytes at `offset`. @throws D2vError if they are not there (any more) */
  read(offset: number, length: number): Uint8Array;
  close(): void;
}

/** Largest single read; the system call takes no more than 2 GiB. */
const CHUNK = 1 << 30;

/** Opens a file for reading in pieces. @throws D2vError if it is missing, unreadable or no regular file */
export function fileSource(path: string): ByteSource {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new D2vError(code === 'ENOENT' ? `${path} does not exist` : `${path} cannot be read: ${message}`);
  }
  const stats = fstatSync(fd);
  if (!stats.isFile()) {
    closeSync(fd);
    throw new D2vError(`${path} is not a regular file`);
  }
  let open = true;
  return {
    name: path,
    size: stats.size,
    read(offset, length) {
      if (!open) throw new D2vError(`${path} has been closed`);
      checkRange(path, stats.size, offset, length);
      const bytes = new Uint8Array(length);
      for (let done = 0; done < length; ) {
        const got = readSync(fd, bytes, done, Math.min(CHUNK, length - done), offset + done);
        if (got === 0) throw new D2vError(`${path} became shorter while it was read`);
        done += got;
      }
      return bytes;
    },
    close() {
      if (open) closeSync(fd);
      open = false;
    },
  };
}

/** Bytes in memory. */
export function memorySource(bytes: Uint8Array, name: string): ByteSource {
  return {
    name,
    size: bytes.length,
    read(offset, length) {
      checkRange(name, bytes.length, offset, length);
      // Not `bytes.slice`: on a Buffer that is a view, not a copy.
      return new Uint8Array(bytes.subarray(offset, offset + length));
    },
    close() {},
  };
}

function checkRange(name: string, size: number, offset: number, length: number): void {
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0) {
    throw new D2vError(`${name}: bad range ${offset}+${length}`);
  }
  if (offset + length > size)
    throw new D2vError(`${name} is truncated: ${offset + length} bytes needed, ${size} there`);
}
