/** Zip archives as a stream of entries, read by their directory. */
import { crc32 } from 'node:zlib';
import { type Entry, getFileNameLowLevel, openPromise, type ZipFile } from 'yauzl';
import { ArchiveError, checkRatio, cleanName, EntryGuard, hasControl, plainName } from './limits.js';
import type { ArchiveEntry, ReadTarOptions } from './tar.js';

const UNIX_TYPE = 0o170000;
const REGULAR = 0o100000;

/**
 * The files of a zip, in the order of its directory.
 * @throws ArchiveError naming the entry, for whatever should not be in an archive, and for damaged content
 */
export async function* readZip(path: string, options: ReadTarOptions = {}): AsyncGenerator<ArchiveEntry> {
  const archive = options.archive ?? path;
  const guard = new EntryGuard(archive, options);
  let zip: ZipFile | undefined;
  try {
    // Names are decoded and checked here, like those of other archives, and only where they matter.
    zip = await openPromise(path, { lazyEntries: true, autoClose: false, decodeStrings: false });
    const admitted: ZipEntry[] = [];
    for await (const entry of entriesOf(zip)) {
      options.signal?.throwIfAborted();
      const stored = getFileNameLowLevel(
        entry.generalPurposeBitFlag,
        entry.fileNameRaw,
        entry.extraFields,
        true,
      );
      if (options.wanted && !options.wanted(plainName(stored))) {
        guard.pass(stored, entry.uncompressedSize);
        continue;
      }
      if (hasControl(entry.fileNameRaw))
        throw new ArchiveError(archive, stored, 'has control characters in its name');
      if (stored.endsWith('/')) {
        cleanName(stored, archive);
        continue;
      }
      checkKind(entry, stored, archive);
      const name = guard.admit(stored, entry.uncompressedSize);
      checkRatio(archive, name, entry.compressedSize, entry.uncompressedSize, options.ratio);
      const found = new ZipEntry(name, zip, entry, archive);
      // Of those that are wanted, none is read before all are known to be proper, and there once.
      if (options.wanted) admitted.push(found);
      else yield found;
    }
    yield* admitted;
  } catch (error) {
    throw explain(error, archive);
  } finally {
    zip?.close();
  }
}

function checkKind(entry: Entry, name: string, archive: string): void {
  const mode = (entry.externalFileAttributes >>> 16) & UNIX_TYPE;
  if (mode !== 0 && mode !== REGULAR)
    throw new ArchiveError(archive, name, 'is a link, device or pipe, which is refused');
  if (entry.isEncrypted()) throw new ArchiveError(archive, name, 'is encrypted, which is not supported');
}

class ZipEntry implements ArchiveEntry {
  readonly bytes: number;
  readonly offset: number;

  constructor(
    readonly name: string,
    private readonly zip: ZipFile,
    private readonly entry: Entry,
    private readonly archive: string,
  ) {
    this.bytes = entry.uncompressedSize;
    this.offset = entry.relativeOffsetOfLocalHeader;
  }

  async *body(): AsyncGenerator<Buffer> {
    let checksum = 0;
    try {
      const stream = await new Promise<NodeJS.ReadableStream>((resolve, reject) => {
        this.zip.openReadStream(this.entry, (error, opened) => (error ? reject(error) : resolve(opened)));
      });
      for await (const piece of stream) {
        const bytes = piece as Buffer;
        checksum = crc32(bytes, checksum);
        yield bytes;
      }
    } catch (error) {
      throw explain(error, this.archive, this.name);
    }
    if (checksum !== this.entry.crc32)
      throw new ArchiveError(this.archive, this.name, 'is damaged (its CRC-32 differs)');
  }

  async read(most = 1 << 30): Promise<Buffer> {
    if (this.bytes > most) throw new ArchiveError(this.archive, this.name, `is larger than ${most} bytes`);
    const parts: Buffer[] = [];
    for await (const part of this.body()) parts.push(part);
    return Buffer.concat(parts);
  }
}

async function* entriesOf(zip: ZipFile): AsyncGenerator<Entry> {
  for (;;) {
    const entry = await new Promise<Entry | null>((resolve, reject) => {
      const settle = (finish: () => void) => {
        zip.removeListener('entry', onEntry);
        zip.removeListener('end', onEnd);
        zip.removeListener('error', onError);
        finish();
      };
      const onEntry = (found: Entry) => settle(() => resolve(found));
      const onEnd = () => settle(() => resolve(null));
      const onError = (error: Error) => settle(() => reject(error));
      zip.on('entry', onEntry);
      zip.on('end', onEnd);
      zip.on('error', onError);
      zip.readEntry();
    });
    if (!entry) return;
    yield entry;
  }
}

/** Errors of the library, which have no code, as ours; those of the disk come back unchanged. */
function explain(error: unknown, archive: string, entry: string | null = null): unknown {
  const { code, message } = (error ?? {}) as { code?: string; message?: string };
  if (error instanceof ArchiveError || (code !== undefined && !/^Z_|^ERR_/.test(code))) return error;
  return new ArchiveError(archive, entry, `it cannot be read (${message})`, { cause: error });
}
