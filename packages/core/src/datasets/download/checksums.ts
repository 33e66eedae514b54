import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import type { Checksums } from '../types.js';

/** The digests that are known, best first. */
export const ALGORITHMS = ['sha512', 'sha256', 'sha1', 'md5'] as const;
const CHUNK = 1 << 20;

/** Which digests to compute: all that are published; SHA-256 where none is, so that `verify` has something to compare. */
export function wantedAlgorithms(published: Checksums | undefined): (keyof Checksums)[] {
  const wanted = ALGORITHMS.filter((name) => published?.[name] !== undefined);
  return wanted.length > 0 ? wanted : ['sha256'];
}

/** The first published digest that differs, as text; null if all agree. */
export function mismatch(published: Checksums | undefined, actual: Checksums): string | null {
  for (const name of ALGORITHMS) {
    const expected = published?.[name]?.toLowerCase();
    if (expected !== undefined && actual[name] !== undefined && actual[name] !== expected) {
      return `its ${name} is ${actual[name]}, expected ${expected}`;
    }
  }
  return null;
}

/**
 * Digests of a file's beginning, which grows: bytes that come in order are taken as they come, others are read back from
 * the file once the gap before them is closed.
 */
export class PrefixHasher {
  private readonly hashes: [keyof Checksums, Hash][];
  private busy = false;
  /** Bytes taken so far. */
  position = 0;

  constructor(algorithms: readonly (keyof Checksums)[]) {
    this.hashes = algorithms.map((name) => [name, createHash(name)]);
  }

  /** Takes bytes if they are the next ones; otherwise they are for `catchUp`. */
  offer(bytes: Uint8Array, position: number): void {
    if (this.busy || position !== this.position) return;
    this.update(bytes);
  }

  /** Reads what is missing up to a place. A call while another is at work does nothing. */
  async catchUp(file: FileHandle, to: number, signal?: AbortSignal): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    try {
      const buffer = Buffer.allocUnsafe(CHUNK);
      while (this.position < to) {
        signal?.throwIfAborted();
        const wanted = Math.min(CHUNK, to - this.position);
        const { bytesRead } = await file.read(buffer, 0, wanted, this.position);
        if (bytesRead === 0) throw new Error(`the file ends at byte ${this.position} of ${to}`);
        this.update(buffer.subarray(0, bytesRead));
      }
    } finally {
      this.busy = false;
    }
  }

  digest(): Checksums {
    return Object.fromEntries(this.hashes.map(([name, hash]) => [name, hash.copy().digest('hex')]));
  }

  private update(bytes: Uint8Array): void {
    for (const [, hash] of this.hashes) hash.update(bytes);
    this.position += bytes.length;
  }
}

/**
 * Size and digests of a file. @param onProgress bytes read so far
 */
export async function checksumFile(
  path: string,
  algorithms: readonly (keyof Checksums)[],
  onProgress?: (done: number, total: number) => void,
  signal?: AbortSignal,
): Promise<{ bytes: number; checksums: Checksums }> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const hasher = new PrefixHasher(algorithms);
    const step = 64 << 20;
    for (let to = Math.min(step, size); ; to = Math.min(to + step, size)) {
      await hasher.catchUp(file, to, signal);
      onProgress?.(to, size);
      if (to === size) break;
    }
    return { bytes: size, checksums: hasher.digest() };
  } finally {
    await file.close();
  }
}
