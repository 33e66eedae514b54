/** Writing safetensors files: a reader sees the whole file or none. */
import type { FileHandle } from 'node:fs/promises';
import { D2vError } from '../errors.js';
import { writeAtomically } from './atomic-stream.js';
import { elementSize, type FileDType } from './dtypes.js';

/** A tensor to be written; `bytes` may be a function so that only one tensor at a time is in memory. */
export interface TensorEntry {
  name: string;
  /** A type of the file format, or the lower-case name that tensors here have (`f32`, `bf16`, `i64`, ...). */
  dtype: FileDType | Lowercase<FileDType>;
  shape: readonly number[];
  /** Row-major little-endian bytes. */
  bytes: Uint8Array | (() => Uint8Array);
}

interface Placed extends TensorEntry {
  byteLength: number;
}

/**
 * Writes tensors and texts to a file: beside it, flushed, renamed over it, the folder flushed.
 * @param metadata texts stored in the header
 * @throws D2vError if entries contradict themselves; file-system errors as they come
 */
export async function writeSafetensors(
  path: string,
  entries: Iterable<TensorEntry>,
  metadata: Record<string, string> = {},
): Promise<void> {
  const placed = place(entries, path);
  const header = encodeHeader(placed, metadata);
  await writeAtomically(path, async (file) => {
    await writeAll(file, header);
    for (const entry of placed) {
      const bytes = typeof entry.bytes === 'function' ? entry.bytes() : entry.bytes;
      checkBytes(entry, bytes, path);
      await writeAll(file, bytes);
    }
  });
}

/** The same in memory, for small files and tests. */
export function encodeSafetensors(
  entries: Iterable<TensorEntry>,
  metadata: Record<string, string> = {},
): Uint8Array {
  const placed = place(entries, 'safetensors');
  const parts = [encodeHeader(placed, metadata)];
  for (const entry of placed) {
    const bytes = typeof entry.bytes === 'function' ? entry.bytes() : entry.bytes;
    checkBytes(entry, bytes, 'safetensors');
    parts.push(bytes);
  }
  return Buffer.concat(parts);
}

/** Checks entries and puts wide types first, so that every tensor starts at a multiple of its element size. */
function place(entries: Iterable<TensorEntry>, path: string): Placed[] {
  const names = new Set<string>();
  const placed: Placed[] = [];
  for (const entry of entries) {
    const size = elementSize(entry.dtype.toUpperCase());
    if (size === undefined)
      throw new D2vError(`${path}: tensor "${entry.name}" has the unknown type ${entry.dtype}`);
    if (names.has(entry.name) || entry.name === '__metadata__') {
      throw new D2vError(`${path}: the name "${entry.name}" is taken`);
    }
    names.add(entry.name);
    const byteLength = entry.shape.reduce((product, n) => product * n, size);
    if (!Number.isSafeInteger(byteLength) || entry.shape.some((n) => !Number.isInteger(n) || n < 0)) {
      throw new D2vError(`${path}: tensor "${entry.name}" has the bad shape [${entry.shape}]`);
    }
    placed.push({ ...entry, byteLength });
  }
  const width = (entry: Placed) => elementSize(entry.dtype.toUpperCase())!;
  return placed.sort((a, b) => width(b) - width(a));
}

function checkBytes(entry: Placed, bytes: Uint8Array, path: string): void {
  if (bytes.byteLength === entry.byteLength) return;
  throw new D2vError(
    `${path}: tensor "${entry.name}" [${entry.shape}] ${entry.dtype} needs ${entry.byteLength} bytes, got ${bytes.byteLength}`,
  );
}

/**
 * Length field and header, padded so that the data starts at a multiple of 8.
 * @param reserve at least so many bytes in all, for a header that is written again when the shapes are known
 */
export function encodeHeader(
  entries: readonly { name: string; dtype: string; shape: readonly number[]; byteLength: number }[],
  metadata: Record<string, string>,
  reserve = 0,
): Uint8Array {
  const parts: string[] = [];
  if (Object.keys(metadata).length > 0) parts.push(`"__metadata__":${JSON.stringify(metadata)}`);
  let offset = 0;
  for (const { name, dtype, shape, byteLength } of entries) {
    const end = offset + byteLength;
    const info = { dtype: dtype.toUpperCase(), shape, data_offsets: [offset, end] };
    parts.push(`${JSON.stringify(name)}:${JSON.stringify(info)}`);
    offset = end;
  }
  const json = Buffer.from(`{${parts.join(',')}}`);
  const length = Math.max(Math.ceil((8 + json.length) / 8) * 8, Math.ceil(reserve / 8) * 8);
  const header = Buffer.alloc(length, ' ');
  header.writeBigUInt64LE(BigInt(length - 8), 0);
  json.copy(header, 8);
  return header;
}

/** Writes all bytes, in as many calls as it takes. */
export async function writeAll(file: FileHandle, bytes: Uint8Array, position?: number): Promise<void> {
  const step = 1 << 30;
  for (let done = 0; done < bytes.byteLength; ) {
    const length = Math.min(step, bytes.byteLength - done);
    const { bytesWritten } = await file.write(
      bytes,
      done,
      length,
      position === undefined ? null : position + done,
    );
    done += bytesWritten;
  }
}
