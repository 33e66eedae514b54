/** Writing tar shards: files of one stem are a sample, as in WebDataset, with their index beside them. */
import { Header, Pax } from 'tar';
import { ArchiveError, cleanName } from '../archives/limits.js';
import { HashedFile } from '../folder/hashed-file.js';
import type { StepOutput } from '../types.js';
import { BLOCK, encodeIndex, type IndexedSample } from './index-file.js';

/** A sample as it is written. */
export interface ShardSample {
  /** Its name in the shard, without dots in the last part: `n01440764/n01440764_10026`. */
  key: string;
  /** Contents by ending: `{ jpg: ... }`. */
  files: Readonly<Record<string, Uint8Array>>;
  /** Class index; written as the file `<key>.cls`. */
  label?: number;
}

/** Where a file's content lies in a shard, in bytes. */
export interface ShardPlace {
  offset: number;
  bytes: number;
}

const FLUSH = 1 << 20;
/** Of every file, so that the same samples give the same bytes. */
const EPOCH = new Date(0);

/** Writes one shard and its index into the folder of a step. The same samples give the same bytes. */
export class ShardWriter {
  private readonly samples: IndexedSample[] = [];
  private readonly keys = new Set<string>();
  private pending: Buffer[] = [];
  private pendingBytes = 0;
  private position = 0;

  private constructor(
    private readonly file: HashedFile,
    private readonly name: string,
    private readonly output: StepOutput,
  ) {}

  /** @param name of the shard, e.g. `train-00000.tar` */
  static async create(output: StepOutput, name: string): Promise<ShardWriter> {
    return new ShardWriter(await HashedFile.create(output, name), name, output);
  }

  /** Bytes so far. */
  get bytes(): number {
    return this.position;
  }

  /** Samples so far. */
  get count(): number {
    return this.samples.length;
  }

  /**
   * Appends a sample.
   * @returns where the contents lie in the shard, by ending
   * @throws ArchiveError for a key that cannot be a name in a shard, or is in it already
   */
  async add({ key, files, label }: ShardSample): Promise<ReadonlyMap<string, ShardPlace>> {
    if (cleanName(key, this.name) !== key || key.slice(key.lastIndexOf('/') + 1).includes('.')) {
      throw new ArchiveError(this.name, key, 'cannot be the key of a sample: dots separate the ending');
    }
    if (this.keys.has(key)) throw new ArchiveError(this.name, key, 'is the key of an earlier sample already');
    this.keys.add(key);
    const places = new Map<string, ShardPlace>();
    const all: ShardSample['files'] =
      label === undefined ? files : { ...files, cls: Buffer.from(String(label)) };
    for (const ending of Object.keys(all).sort()) {
      const content = all[ending]!;
      this.header(`${key}.${ending}`, content.length);
      places.set(ending, { offset: this.position, bytes: content.length });
      this.append(Buffer.from(content.buffer, content.byteOffset, content.byteLength));
      this.append(Buffer.alloc(-content.length & (BLOCK - 1)));
    }
    this.samples.push({ key, label: label ?? -1, files: places });
    if (this.pendingBytes >= FLUSH) await this.flush();
    return places;
  }

  /** Ends the shard and writes its index. */
  async finish(): Promise<{ samples: number; bytes: number }> {
    this.append(Buffer.alloc(2 * BLOCK));
    await this.flush();
    await this.file.finish();
    const index = encodeIndex(this.samples, this.position);
    const indexFile = await HashedFile.create(this.output, `${this.name}.idx`);
    await indexFile.append(index);
    await indexFile.finish();
    return { samples: this.samples.length, bytes: this.position };
  }

  private header(path: string, size: number): void {
    const fields = { path, size, mode: 0o644, mtime: EPOCH, type: 'File' as const, uid: 0, gid: 0 };
    const header = new Header(fields);
    const block = Buffer.alloc(BLOCK);
    if (header.encode(block)) this.append(new Pax({ path, size, mtime: EPOCH }).encode());
    this.append(block);
  }

  private append(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.pending.push(bytes);
    this.pendingBytes += bytes.length;
    this.position += bytes.length;
  }

  private async flush(): Promise<void> {
    const bytes = Buffer.concat(this.pending);
    this.pending = [];
    this.pendingBytes = 0;
    await this.file.append(bytes);
  }
}
