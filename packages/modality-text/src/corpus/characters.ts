/** Bytes of a file to characters: unzipped if need be, decoded as UTF-8, in parts of bounded size. */
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { D2vError } from '@d2v/core';
import type { TextFile } from './files.js';

const PART = 1 << 20;
/** How gzip begins: its mark, and the only method it has. No UTF-8 begins so. */
const GZIP = Buffer.from([0x1f, 0x8b, 8]);
const REPLACEMENT = '\uFFFD';

/** A file that cannot be read to its end; what came before is good. */
export class DamagedTextError extends D2vError {
  override readonly name = 'DamagedTextError';
}

/**
 * The characters of a file. Bytes that are no UTF-8 become U+FFFD; `onReplaced` hears of it once.
 * @throws DamagedTextError if it cannot be read, is cut off, or holds no text
 */
export async function* characters(file: TextFile, onReplaced: () => void): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8');
  let replaced = false;
  const check = (text: string) => {
    if (text.includes('\0')) throw new DamagedTextError(`${file.path} is no text: it has zero bytes`);
    if (!replaced && text.includes(REPLACEMENT)) {
      replaced = true;
      onReplaced();
    }
    return text;
  };
  try {
    let first = true;
    for await (const chunk of await openBytes(file)) {
      if (first) refuseUtf16(chunk, file);
      first = false;
      yield check(decoder.decode(chunk, { stream: true }));
    }
    yield check(decoder.decode());
  } catch (error) {
    if (error instanceof D2vError) throw error;
    throw new DamagedTextError(`${file.path} cannot be read: ${reason(error as NodeJS.ErrnoException)}`, {
      cause: error,
    });
  }
}

/** Unzipped, if the name or the first bytes say gzip. */
async function openBytes({ path, name }: TextFile): Promise<AsyncIterable<Buffer>> {
  const zipped = /\.gz$/i.test(name) || (await beginsAsGzip(path));
  const bytes = createReadStream(path, { highWaterMark: PART });
  if (!zipped) return bytes;
  const unzipped = createGunzip({ chunkSize: PART });
  bytes.on('error', (error) => unzipped.destroy(error));
  return bytes.pipe(unzipped) satisfies Readable;
}

async function beginsAsGzip(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(GZIP.length), 0, GZIP.length, 0);
    return bytesRead === GZIP.length && buffer.equals(GZIP);
  } finally {
    await file.close();
  }
}

function refuseUtf16(start: Buffer, { path }: TextFile): void {
  const mark = start.length >= 2 ? start.readUInt16BE(0) : 0;
  if (mark === 0xfeff || mark === 0xfffe) {
    throw new DamagedTextError(`${path} is UTF-16: convert it to UTF-8`);
  }
}

function reason({ code, message }: NodeJS.ErrnoException): string {
  if (code === 'Z_BUF_ERROR') return 'the gzip data is cut off';
  if (code?.startsWith('Z_')) return `the gzip data is damaged (${message})`;
  return code ?? message;
}
