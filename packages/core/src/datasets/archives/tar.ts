/**
 * Tar as a stream of entries: from a file, where what is not wanted is passed over without being read, or from a stream, such
 * as an entry of another tar. Only regular files come out; links, devices and names that lead elsewhere are refused.
 */
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { Header, Pax } from 'tar';
import { type ByteReader, FileReader, StreamReader } from './bytes.js';
import { compressionOf, type DecompressOptions, plainOf } from './decompress.js';
import { ArchiveError, type ArchiveLimits, cleanName, EntryGuard, plainName } from './limits.js';

const BLOCK = 512;
/** Where fields of a header are. */
const [SIZE_AT, SIZE_BYTES] = [124, 12];
const [CHECKSUM_AT, CHECKSUM_BYTES] = [148, 8];
/** Long names and extended headers are short. */
const MOST_META = 1 << 20;

export interface ReadTarOptions extends ArchiveLimits {
  /** For messages; default: the path. */
  archive?: string;
  signal?: AbortSignal;
  /**
   * The entries to give, by name (`./a//b` is `a/b`), where others are of no interest. Those others are passed over, whatever they are, and only
   * counted: stray links or names do no harm where nobody reads them. Default: all; then each is judged.
   */
  wanted?: (name: string) => boolean;
  /** How many bytes of the archive's file were read, before each entry and at the end; of compressed ones a little ahead. Only of a path. */
  onProgress?: (done: number, total: number) => void;
}

/** A regular file of an archive. Its content can be had once, before the next entry is asked for. */
export interface ArchiveEntry {
  /** A relative path with `/` that stays in its folder. */
  name: string;
  bytes: number;
  /** Where its content begins in the plain archive. */
  offset: number;
  /** The content as it comes. */
  body(): AsyncGenerator<Buffer>;
  /** The content in memory. @param most bytes; default: 1 GB */
  read(most?: number): Promise<Buffer>;
}

/**
 * The files of a tar, which may be compressed with gzip or xz.
 * @param source a path, or the bytes
 * @throws ArchiveError naming the entry, for whatever should not be in an archive
 */
export async function* readTar(
  source: string | AsyncIterable<Buffer>,
  options: ReadTarOptions = {},
): AsyncGenerator<ArchiveEntry> {
  const archive = options.archive ?? (typeof source === 'string' ? source : 'the archive');
  let reading: string | null = null;
  const { reader, bytes, total } = await openReader(source, {
    archive,
    ratio: options.ratio,
    entry: () => reading,
  });
  const guard = new EntryGuard(archive, options);
  try {
    for (;;) {
      options.signal?.throwIfAborted();
      const header = await nextHeader(reader, archive);
      if (!header) {
        await reader.finish();
        if (total !== null) options.onProgress?.(total, total);
        return;
      }
      const { path: given, size = 0 } = header;
      const stored = given ?? '';
      reading = stored;
      if (total !== null) options.onProgress?.(bytes(), total);
      if (options.wanted && !options.wanted(plainName(stored))) {
        guard.pass(stored, size);
        // A symbolic link or device has no content, whatever its size says.
        await reader.skip(EMPTY.has(header.type) ? 0 : padded(size));
        continue;
      }
      if (header.type === 'Directory') {
        // Programs write the folder itself as `./`.
        if (plainName(stored) !== '' || stored.startsWith('/')) cleanName(stored, archive);
        guard.pass(stored, size);
        await reader.skip(padded(size));
        continue;
      }
      checkType(header, archive);
      const name = guard.admit(stored, size);
      const end = reader.position + padded(size);
      const entry = new TarEntry(name, size, reader);
      yield entry;
      entry.close();
      await reader.skip(end - reader.position);
    }
  } finally {
    await reader.close();
  }
}

class TarEntry implements ArchiveEntry {
  readonly offset: number;
  private open = true;

  constructor(
    readonly name: string,
    readonly bytes: number,
    private readonly reader: ByteReader,
  ) {
    this.offset = reader.position;
  }

  async *body(): AsyncGenerator<Buffer> {
    const end = this.offset + this.bytes;
    while (this.reader.position < end) {
      if (!this.open) throw new Error(`the content of ${this.name} is asked for after the next entry`);
      yield await this.reader.some(end - this.reader.position);
    }
  }

  async read(most = 1 << 30): Promise<Buffer> {
    if (this.bytes > most) throw new ArchiveError('archive', this.name, `is larger than ${most} bytes`);
    if (!this.open || this.reader.position !== this.offset) {
      throw new Error(`the content of ${this.name} can be had only once`);
    }
    return this.bytes === 0 ? Buffer.alloc(0) : (await this.reader.take(this.bytes))!;
  }

  close(): void {
    this.open = false;
  }
}

const EMPTY = new Set<string>(['SymbolicLink', 'CharacterDevice', 'BlockDevice', 'FIFO']);

const padded = (size: number) => Math.ceil(size / BLOCK) * BLOCK;

interface OpenReader {
  reader: ByteReader;
  /** Bytes of the source, as it is stored, that were read. */
  bytes(): number;
  /** All of them; null where it is no file. */
  total: number | null;
}

async function openReader(
  source: string | AsyncIterable<Buffer>,
  options: DecompressOptions,
): Promise<OpenReader> {
  const { archive } = options;
  if (typeof source !== 'string') {
    const reader = new StreamReader(plainOf(source, options), archive);
    return { reader, bytes: () => 0, total: null };
  }
  const file = await open(source, 'r');
  const head = Buffer.alloc(6);
  const [{ bytesRead }, { size }] = await Promise.all([
    file.read(head, 0, head.length, 0),
    file.stat(),
  ]).finally(() => file.close());
  if (compressionOf(head.subarray(0, bytesRead)) === null) {
    const reader = await FileReader.open(source, archive);
    return { reader, bytes: () => reader.position, total: size };
  }
  const stream = createReadStream(source, { highWaterMark: 256 << 10 });
  const reader = new StreamReader(plainOf(stream, options), archive);
  return { reader, bytes: () => stream.bytesRead, total: size };
}

/** The header of the next file, with what extended headers say of it; null at the end. */
async function nextHeader(reader: ByteReader, archive: string): Promise<Header | null> {
  let local: Pax | undefined;
  let longName: string | undefined;
  let wrongSize: string | undefined;
  for (;;) {
    const at = reader.position;
    const block = await reader.take(BLOCK);
    // Without the two empty blocks: some programs leave them out.
    if (!block) return null;
    const header = headerOf(block, local, longName, archive, at);
    // What follows the first empty block is padding.
    if (header.nullBlock) return null;
    if (!header.cksumValid)
      throw new ArchiveError(archive, null, `it is damaged: at byte ${at} stands no header`);
    switch (header.type) {
      case 'ExtendedHeader':
      case 'OldExtendedHeader': {
        const text = await meta(reader, header, archive);
        if (/^\d+ GNU\.sparse\./m.test(text))
          throw new ArchiveError(archive, null, 'it holds sparse files, which are not supported');
        local = Pax.parse(text, local, false);
        wrongSize ??= /^\d+ size=(?!\d{1,15}$)(.*)$/m.exec(text)?.[1];
        break;
      }
      case 'GlobalExtendedHeader':
        // Comments of programs; a name or size for all files would be nonsense.
        await meta(reader, header, archive);
        break;
      case 'NextFileHasLongPath':
      case 'OldGnuLongPath':
        longName = (await meta(reader, header, archive)).replace(/\0.*$/s, '');
        break;
      case 'NextFileHasLongLinkpath':
        await meta(reader, header, archive);
        break;
      default:
        // Extended headers go before the header's own fields, and before the older GNU way.
        header.path = local?.path ?? longName ?? header.path;
        if (wrongSize === undefined && header.size === undefined) wrongSize = sizeField(block);
        if (wrongSize !== undefined)
          throw new ArchiveError(
            archive,
            header.path ?? '',
            `has no proper size (${JSON.stringify(wrongSize)})`,
          );
        return header;
    }
  }
}

/** What a header says as size where it is no number; undefined for a field that is left empty, as some programs do for 0. */
function sizeField(block: Buffer): string | undefined {
  const field = block.toString('latin1', SIZE_AT, SIZE_AT + SIZE_BYTES);
  return /^[\0 ]*$/.test(field) ? undefined : field;
}

function headerOf(
  block: Buffer,
  extended: Pax | undefined,
  longName: string | undefined,
  archive: string,
  at: number,
): Header {
  try {
    return new Header(block, 0, extended);
  } catch (error) {
    const name = nameOfSizeless(block, extended);
    if (name !== null)
      throw new ArchiveError(archive, longName ?? name, 'has no proper size (larger than 2^53 bytes)');
    throw new ArchiveError(archive, null, `it is damaged: the header at byte ${at} makes no sense`, {
      cause: error,
    });
  }
}

/** The name in a header of which only the size is no number that can be counted with; null for one that is damaged. */
function nameOfSizeless(block: Buffer, extended: Pax | undefined): string | null {
  const sizeless = Buffer.from(block).fill(0, SIZE_AT, SIZE_AT + SIZE_BYTES);
  let sum = 0;
  for (const [i, byte] of block.entries()) {
    sum += i >= CHECKSUM_AT && i < CHECKSUM_AT + CHECKSUM_BYTES ? 0x20 : byte;
  }
  try {
    const header = new Header(sizeless, 0, extended);
    return header.cksum === sum ? (header.path ?? '') : null;
  } catch {
    return null;
  }
}

async function meta(reader: ByteReader, { size = 0 }: Header, archive: string): Promise<string> {
  if (size > MOST_META) throw new ArchiveError(archive, null, `it has an extended header of ${size} bytes`);
  if (size === 0) return '';
  const bytes = (await reader.take(padded(size)))!;
  return bytes.subarray(0, size).toString('utf8');
}

function checkType(header: Header, archive: string): void {
  const name = header.path ?? '';
  switch (header.type) {
    case 'File':
    case 'OldFile':
    case 'ContiguousFile':
      return;
    case 'Link':
    case 'SymbolicLink':
      throw new ArchiveError(
        archive,
        name,
        `is a link to ${JSON.stringify(header.linkpath ?? '')}, which is refused`,
      );
    case 'CharacterDevice':
    case 'BlockDevice':
    case 'FIFO':
      throw new ArchiveError(archive, name, 'is a device or pipe, which is refused');
    default:
      throw new ArchiveError(archive, name, `is of a kind that is not supported (${header.type})`);
  }
}
