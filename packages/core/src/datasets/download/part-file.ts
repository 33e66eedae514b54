/**
 * A file that is being downloaded: `<path>.part` with the bytes, `<path>.part.json` with what they are a part of. The
 * second never claims bytes that the first may not have, also after a power cut; it is what a later attempt goes on from.
 */
import { type FileHandle, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncFolder, writeFileAtomic } from '../../training/atomic-file.js';
import type { Checksums } from '../types.js';
import { PrefixHasher } from './checksums.js';
import { ByteRanges } from './ranges.js';

/** What tells one version of a published file from another. */
export interface RemoteIdentity {
  /** Strong ETags only. */
  etag: string | null;
  lastModified: string | null;
  size: number | null;
}

interface Sidecar extends RemoteIdentity {
  format: 1;
  /** Without credentials and query. */
  url: string;
  done: (readonly [number, number])[];
}

const SAVE_BYTES = 64 << 20;
/** What a process that is killed loses at most. */
const SAVE_MS = 500;

export class PartFile {
  private savedBytes = 0;
  private savedAt = performance.now();
  private saving: Promise<void> | undefined;
  private recordFailure: unknown;

  private constructor(
    readonly path: string,
    private readonly file: FileHandle,
    private readonly algorithms: readonly (keyof Checksums)[],
    private url: string,
    public identity: RemoteIdentity | null,
    private done: ByteRanges,
    private hasher = new PrefixHasher(algorithms),
  ) {}

  /**
   * Opens what an earlier attempt has left, or begins.
   * @param path the final name
   * @param url for the record
   */
  static async open(path: string, url: string, algorithms: readonly (keyof Checksums)[]): Promise<PartFile> {
    await mkdir(dirname(path), { recursive: true });
    const sidecar = await readSidecar(path);
    const file = await open(partOf(path), sidecar ? 'r+' : 'w+').catch(
      async (error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
        return open(partOf(path), 'w+');
      },
    );
    const { size } = await file.stat();
    // A record without its bytes (a part that was cut or removed) is worth as much as the bytes.
    const done = (sidecar?.done ?? []).map(([start, end]) => [start, Math.min(end, size)] as const);
    const { etag, lastModified, size: total } = sidecar ?? {};
    const identity = sidecar
      ? { etag: etag ?? null, lastModified: lastModified ?? null, size: total ?? null }
      : null;
    return new PartFile(path, file, algorithms, sidecar?.url ?? url, identity, new ByteRanges(done));
  }

  get received(): number {
    return this.done.total;
  }

  /** Length without holes from the beginning. */
  get prefix(): number {
    return this.done.prefix;
  }

  missing(size: number): [start: number, end: number][] {
    return this.done.missing(size);
  }

  /** Notes what the bytes are a part of, before the first of them. */
  async begin(url: string, identity: RemoteIdentity): Promise<void> {
    this.url = url;
    this.identity = identity;
    await this.save();
  }

  /** Throws away what is there: it belongs to another version of the file, or is damaged. */
  async restart(): Promise<void> {
    await this.saving?.catch(() => undefined);
    this.recordFailure = undefined;
    await rm(sidecarOf(this.path), { force: true });
    await this.file.truncate(0);
    this.identity = null;
    this.done = new ByteRanges();
    this.hasher = new PrefixHasher(this.algorithms);
  }

  async write(bytes: Buffer, position: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.file.write(bytes, done, bytes.length - done, position + done);
      done += bytesWritten;
    }
    this.done.add(position, position + bytes.length);
    this.hasher.offer(bytes, position);
    if (this.recordFailure) throw this.recordFailure;
    const due = this.received - this.savedBytes >= SAVE_BYTES || performance.now() - this.savedAt >= SAVE_MS;
    // Flushing takes its time: bytes come in meanwhile.
    if (due && !this.saving) {
      this.save().catch((error: unknown) => {
        this.recordFailure = error;
      });
    }
  }

  /** Reads back what came out of order, as far as there is no hole before it. */
  async hashPrefix(signal?: AbortSignal): Promise<void> {
    await this.hasher.catchUp(this.file, this.done.prefix, signal);
  }

  /** Records how far it is now: one that is under way may know of less. */
  async save(): Promise<void> {
    while (this.saving) await this.saving.catch(() => undefined);
    this.saving = this.record().finally(() => {
      this.saving = undefined;
    });
    await this.saving;
  }

  /** Size and digests; everything must be there. */
  async digest(size: number, signal?: AbortSignal): Promise<Checksums> {
    await this.file.truncate(size);
    await this.hasher.catchUp(this.file, size, signal);
    return this.hasher.digest();
  }

  /** Gives the file its name. */
  async commit(): Promise<void> {
    await this.saving?.catch(() => undefined);
    await this.file.sync();
    await this.file.close();
    await rename(partOf(this.path), this.path);
    await syncFolder(dirname(this.path));
    await rm(sidecarOf(this.path), { force: true });
  }

  /** Closes it as it is, for a later attempt. */
  async keep(): Promise<void> {
    // On a full disk the record of a moment ago has to do.
    if (this.identity) await this.save().catch(() => undefined);
    await this.file.close();
  }

  private async record(): Promise<void> {
    const done = [...this.done.list];
    const sidecar: Sidecar = { format: 1, url: this.url, ...this.identity!, done };
    this.savedBytes = this.received;
    this.savedAt = performance.now();
    await this.file.datasync();
    await writeFileAtomic(sidecarOf(this.path), `${JSON.stringify(sidecar)}\n`);
  }
}

/** Removes an unfinished download. */
export async function removePart(path: string): Promise<void> {
  await rm(sidecarOf(path), { force: true });
  await rm(partOf(path), { force: true });
}

export const partOf = (path: string): string => `${path}.part`;
const sidecarOf = (path: string) => `${path}.part.json`;

async function readSidecar(path: string): Promise<Sidecar | null> {
  const text = await readFile(sidecarOf(path), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (text === null) return null;
  try {
    const value = JSON.parse(text) as Sidecar;
    const sound = value.format === 1 && Array.isArray(value.done) && value.done.every(isRange);
    return sound ? value : null;
  } catch {
    return null;
  }
}

const isRange = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.length === 2 &&
  value.every((n) => Number.isSafeInteger(n) && n >= 0) &&
  value[0] <= value[1];
