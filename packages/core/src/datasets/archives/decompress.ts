/** Gzip and xz as streams. Several streams or members one after the other are one content, as their programs see it. */
import { createReadStream } from 'node:fs';
import { Readable, type Transform } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { D2vError } from '../../errors.js';
import { ArchiveError, checkRatio } from './limits.js';

export type Compression = 'gzip' | 'xz';

export interface DecompressOptions {
  /** For messages. */
  archive: string;
  /** The archive's entry that is being read, for messages; null for none. */
  entry?: () => string | null;
  /** Most bytes that one compressed byte may become. Default: 250. */
  ratio?: number;
}

/**
 * Compressed bytes that the decoder gets at once. The one of xz decodes all of them before it hands out a byte, up to 7000 times as
 * many, so that small pieces bound what a bomb takes before it is refused. Each piece costs a round trip to a thread, which more
 * than halves the speed where nearly nothing is to be decoded (an archive of archives): content that does not expand comes in larger
 * ones. The decoder of gzip stops when it has filled a buffer.
 */
const XZ_PIECE = 8 << 10;
const XZ_PIECE_DENSE = 32 << 10;
/** So many bytes tell how dense a stream is. */
const XZ_SAMPLE = 256 << 10;
const GZIP_PIECE = 256 << 10;
/** Most memory of the xz decoder, which is asked for by the file: `xz -9` needs 65 MB. */
const XZ_MEMORY = 128 << 20;

const MAGIC: readonly [Compression, number[]][] = [
  ['gzip', [0x1f, 0x8b]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
];

/** How a content is compressed, by its first 6 bytes; null if it is not. */
export function compressionOf(head: Uint8Array): Compression | null {
  return MAGIC.find(([, magic]) => magic.every((byte, i) => head[i] === byte))?.[0] ?? null;
}

/**
 * The plain content of a compressed stream.
 * @throws ArchiveError when it is damaged, cut off or a bomb; D2vError where xz is not available
 */
export async function* decompress(
  source: AsyncIterable<Buffer>,
  kind: Compression,
  { archive, entry = () => null, ratio }: DecompressOptions,
): AsyncGenerator<Buffer> {
  let [compressed, plain] = [0, 0];
  const pieceBytes = () => {
    if (kind === 'gzip') return GZIP_PIECE;
    return compressed > XZ_SAMPLE && plain < 2 * compressed ? XZ_PIECE_DENSE : XZ_PIECE;
  };
  const counted = async function* () {
    for await (const bytes of source) {
      for (let at = 0; at < bytes.length; ) {
        const piece = bytes.subarray(at, at + pieceBytes());
        at += piece.length;
        compressed += piece.length;
        yield piece;
      }
    }
  };
  const input = Readable.from(counted(), { objectMode: false, highWaterMark: pieceBytes() });
  const decoder = kind === 'gzip' ? createGunzip({ chunkSize: 256 << 10 }) : await xzDecoder();
  // An error of the source must reach the reader, which sees only the decoder.
  input.on('error', (error) => decoder.destroy(error));
  input.pipe(decoder);
  try {
    for await (const bytes of decoder as AsyncIterable<Buffer>) {
      plain += bytes.length;
      checkRatio(archive, entry(), compressed, plain, ratio);
      yield bytes;
    }
  } catch (error) {
    throw damaged(error, archive, kind);
  } finally {
    input.unpipe(decoder);
    input.destroy();
    decoder.destroy();
  }
}

/** The content of a file, decompressed if it is gzip or xz (by its first bytes, not its name). */
export async function* readPlain(
  path: string,
  options: Partial<DecompressOptions> = {},
): AsyncGenerator<Buffer> {
  yield* plainOf(createReadStream(path, { highWaterMark: 256 << 10 }), { archive: path, ...options });
}

/** A stream, decompressed if it is gzip or xz. */
export async function* plainOf(
  source: AsyncIterable<Buffer>,
  options: DecompressOptions,
): AsyncGenerator<Buffer> {
  const iterator = source[Symbol.asyncIterator]();
  let head: Buffer = Buffer.alloc(0);
  while (head.length < 6) {
    const { done, value } = await iterator.next();
    if (done) break;
    head = head.length === 0 ? value : Buffer.concat([head, value]);
  }
  const whole = async function* () {
    try {
      if (head.length > 0) yield head;
      for (;;) {
        const { done, value } = await iterator.next();
        if (done) return;
        yield value;
      }
    } finally {
      await iterator.return?.();
    }
  };
  const kind = compressionOf(head);
  if (kind) yield* decompress(whole(), kind, options);
  else yield* whole();
}

async function xzDecoder(): Promise<Transform> {
  try {
    const { default: lzma } = await import('lzma-native');
    const options = { threads: 1, writableHighWaterMark: XZ_PIECE, memlimit: XZ_MEMORY };
    return lzma.createDecompressor(options) as unknown as Transform;
  } catch (error) {
    throw new D2vError(
      'this file is xz, and the package lzma-native has no binary for this platform: npm install lzma-native (it builds one), or unpack the file with xz and name the folder with --from',
      { cause: error },
    );
  }
}

function damaged(error: unknown, archive: string, kind: Compression): unknown {
  const { code, name } = (error ?? {}) as { code?: unknown; name?: string };
  const ours = (typeof code === 'string' && /^Z_|^ERR_ZLIB/.test(code)) || /^LZMA/.test(name ?? '');
  if (!ours) return error;
  if (name === 'LZMA_MEMLIMIT_ERROR') {
    const reason = `decoding its xz stream takes more than ${XZ_MEMORY >> 20} MB of memory: unpack it with xz, and pack it again with at most xz -9`;
    return new ArchiveError(archive, null, reason, { cause: error });
  }
  return new ArchiveError(
    archive,
    null,
    `its ${kind} stream is damaged or cut off (${(error as Error).message})`,
    { cause: error },
  );
}
