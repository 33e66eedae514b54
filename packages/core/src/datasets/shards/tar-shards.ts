/**
 * Tar shards as one list of samples with random access: what `DataSource`s of shards are built on. Nothing but the index is
 * kept in memory (for 1.3 million samples of an image and a label some 26 MB), and each file is one read away, so core's
 * samplers, loader threads and exact resume work as with any other data.
 */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { D2vError } from '../../errors.js';
import { writeFileAtomic } from '../../training/atomic-file.js';
import { makeFolder } from '../../training/make-folder.js';
import { compressionOf } from '../archives/decompress.js';
import { ArchiveError } from '../archives/limits.js';
import { indexShard } from './build-index.js';
import { FilePool } from './file-pool.js';
import { ABSENT, BLOCK, decodeIndex, encodeIndex, type ShardIndex } from './index-file.js';

/** Shards whose files stay open. */
const MOST_OPEN = 64;

export interface OpenShardsOptions {
  /** Where indexes are kept of shards that have none beside them. */
  cacheDir: string;
  log?: (message: string) => void;
}

interface OpenShard extends ShardIndex {
  path: string;
  indexPath: string;
  /** Number of its first sample. */
  first: number;
}

export class TarShards {
  readonly length: number;
  /** Endings of the samples' files, e.g. `cls`, `jpg`. */
  readonly fields: readonly string[];
  private readonly files = new FilePool(MOST_OPEN);

  private constructor(private readonly shards: readonly OpenShard[]) {
    this.length = shards.reduce((sum, { header }) => sum + header.count, 0);
    this.fields = [...new Set(shards.flatMap(({ header }) => header.fields))].sort();
  }

  /**
   * Opens shards in the given order. Shards without an index get one first, in the cache folder.
   * @throws ArchiveError for a damaged or compressed shard, D2vError for a missing one
   */
  static async open(paths: readonly string[], options: OpenShardsOptions): Promise<TarShards> {
    const shards: OpenShard[] = [];
    let first = 0;
    for (const path of paths) {
      const shard = await openShard(path, options);
      shards.push({ ...shard, first });
      first += shard.header.count;
    }
    return new TarShards(shards);
  }

  /** Number of the first sample of each shard. */
  get starts(): number[] {
    return this.shards.map(({ first }) => first);
  }

  /** Class index of a sample; -1 if it has none. */
  label(index: number): number {
    const shard = this.shardOf(index);
    return shard.labels[index - shard.first]!;
  }

  /** Name of a sample in its shard. */
  key(index: number): string {
    const shard = this.shardOf(index);
    const at = index - shard.first;
    const start = at === 0 ? 0 : shard.keyEnds[at - 1]!;
    return readAt(shard.indexPath, shard.keysAt + start, shard.keyEnds[at]! - start).toString('utf8');
  }

  /** The names of all samples in order, one read per shard. */
  *keys(): Generator<string> {
    for (const { indexPath, keysAt, keyEnds } of this.shards) {
      const bytes = readAt(indexPath, keysAt, keyEnds.at(-1) ?? 0);
      let start = 0;
      for (const end of keyEnds) {
        yield bytes.toString('utf8', start, end);
        start = end;
      }
    }
  }

  /** For messages: shard and key. */
  describe(index: number): string {
    return `${this.shardOf(index).path}: ${this.key(index)}`;
  }

  /** Whether a sample has a file of that ending, and its length in bytes; -1 if not. */
  bytes(index: number, field: string): number {
    const shard = this.shardOf(index);
    const column = shard.header.fields.indexOf(field);
    if (column < 0) return -1;
    const size = shard.sizes[(index - shard.first) * shard.header.fields.length + column]!;
    return size === ABSENT ? -1 : size;
  }

  /** The content of a sample's file; null if it has none of that ending. @throws ArchiveError when the shard was cut since */
  async read(index: number, field: string): Promise<Buffer | null> {
    const bytes = this.bytes(index, field);
    if (bytes < 0) return null;
    const shard = this.shardOf(index);
    const { fields } = shard.header;
    const block = shard.blocks[(index - shard.first) * fields.length + fields.indexOf(field)]!;
    return this.files.with(shard.path, async (file) => {
      const buffer = Buffer.allocUnsafeSlow(bytes);
      for (let done = 0; done < bytes; ) {
        const { bytesRead } = await file.read(buffer, done, bytes - done, block * BLOCK + done);
        if (bytesRead === 0) throw new ArchiveError(shard.path, this.key(index), 'is cut off');
        done += bytesRead;
      }
      return buffer;
    });
  }

  async close(): Promise<void> {
    await this.files.close();
  }

  private shardOf(index: number): OpenShard {
    let [low, high] = [0, this.shards.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.shards[middle]!.first <= index) low = middle;
      else high = middle - 1;
    }
    const shard = this.shards[low];
    if (!shard || index < 0 || index >= this.length)
      throw new RangeError(`there is no sample ${index} of ${this.length}`);
    return shard;
  }
}

/** A shard with its index, which is made if there is none. */
async function openShard(path: string, options: OpenShardsOptions): Promise<Omit<OpenShard, 'first'>> {
  const info = await stat(path).catch(() => null);
  if (!info?.isFile()) throw new D2vError(`${path}: no such file`);
  const beside = `${path}.idx`;
  const known = readIndex(beside, info.size);
  if (known) return { ...known, path, indexPath: beside };
  const key = createHash('sha256')
    .update(`${resolve(path)}\0${info.size}\0${info.mtimeMs}`)
    .digest('hex');
  const folder = join(options.cacheDir, 'shard-index');
  const cached = join(folder, `${basename(path)}-${key.slice(0, 16)}.idx`);
  const made = readIndex(cached, info.size);
  if (made) return { ...made, path, indexPath: cached };
  if (compressionOf(readAt(path, 0, Math.min(6, info.size))) !== null) {
    throw new ArchiveError(
      path,
      null,
      'it is compressed, so that no sample can be read by itself: unpack it (gunzip, unxz)',
    );
  }
  options.log?.(`indexing ${path}, once`);
  await makeFolder(folder);
  await writeFileAtomic(cached, encodeIndex(await indexShard(path), info.size));
  const fresh = readIndex(cached, info.size);
  if (!fresh) throw new D2vError(`${cached} was removed while it was being read: try again`);
  return { ...fresh, path, indexPath: cached };
}

/** The index in a file; null if there is none, or it is of another shard. */
function readIndex(path: string, shardBytes: number): ShardIndex | null {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  try {
    return decodeIndex(path, fstatSync(file).size, shardBytes, (position, length) =>
      readFrom(file, path, position, length),
    );
  } finally {
    closeSync(file);
  }
}

function readAt(path: string, position: number, length: number): Buffer {
  const file = openSync(path, 'r');
  try {
    return readFrom(file, path, position, length);
  } finally {
    closeSync(file);
  }
}

function readFrom(file: number, path: string, position: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let done = 0; done < length; ) {
    const count = readSync(file, bytes, done, length - done, position + done);
    if (count === 0) throw new ArchiveError(path, null, `it is cut off at byte ${position + done}`);
    done += count;
  }
  return bytes;
}
