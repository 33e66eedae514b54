/**
 * Reading safetensors files. A file is hostile until checked: the header's length, its JSON, every name, type, shape and
 * offset are validated before memory is taken for anything, and tensors are read one at a time from the file.
 */
import { D2vError } from '../errors.js';
import { type ByteSource, fileSource, memorySource } from './byte-source.js';
import { bytesToFloat32, elementSize, type FileDType } from './dtypes.js';
import { duplicateKey } from './json-keys.js';

export interface TensorInfo {
  dtype: FileDType;
  shape: number[];
  /** Offset from the start of the file. */
  offset: number;
  byteLength: number;
}

/** Headers beyond this are refused (the format's own limit). */
const MAX_HEADER = 100_000_000;
const MAX_RANK = 64;

/** An open safetensors file; nothing but its header is in memory. */
export class SafetensorsFile {
  /** Texts stored beside the tensors. */
  readonly metadata: ReadonlyMap<string, string>;
  readonly tensors: ReadonlyMap<string, TensorInfo>;

  constructor(private readonly source: ByteSource) {
    try {
      const header = readHeader(source);
      this.metadata = header.metadata;
      this.tensors = header.tensors;
    } catch (error) {
      source.close();
      throw error;
    }
  }

  /** Tensor names in the order of the file. */
  get names(): string[] {
    return [...this.tensors.keys()];
  }

  /** @throws D2vError if there is no such tensor */
  info(name: string): TensorInfo {
    const info = this.tensors.get(name);
    if (!info) throw new D2vError(`${this.source.name} has no tensor "${name}"`);
    return info;
  }

  /** The tensor's bytes (little endian, row-major), a fresh copy. */
  read(name: string): Uint8Array {
    const { offset, byteLength } = this.info(name);
    return this.source.read(offset, byteLength);
  }

  /** A part of a tensor's bytes: `count` elements from element `start` in row-major order. */
  readRange(name: string, start: number, count: number): Uint8Array {
    const { dtype, offset, byteLength } = this.info(name);
    const size = elementSize(dtype)!;
    if (!(start >= 0 && count >= 0 && (start + count) * size <= byteLength)) {
      throw new D2vError(
        `${this.source.name}: elements ${start} to ${start + count} are outside tensor "${name}"`,
      );
    }
    return this.source.read(offset + start * size, count * size);
  }

  /** The tensor as float32, whatever its type in the file. */
  readFloat32(name: string): Float32Array {
    return bytesToFloat32(this.info(name).dtype, this.read(name));
  }

  close(): void {
    this.source.close();
  }
}

/** Opens a safetensors file. @throws D2vError that names the file and what is wrong with it */
export function openSafetensors(path: string): SafetensorsFile {
  return new SafetensorsFile(fileSource(path));
}

/** The same for bytes in memory. @param name for messages */
export function parseSafetensors(bytes: Uint8Array, name = 'safetensors data'): SafetensorsFile {
  return new SafetensorsFile(memorySource(bytes, name));
}

function readHeader(source: ByteSource) {
  const fail = (what: string): never => {
    throw new D2vError(`${source.name} is not a valid safetensors file: ${what}`);
  };
  if (source.size < 10) fail(`${source.size} bytes are too few`);
  const prefix = source.read(0, 8);
  const length = new DataView(prefix.buffer).getBigUint64(0, true);
  if (length > BigInt(source.size - 8))
    fail(`its header claims ${length} bytes, the file has ${source.size}`);
  if (length > BigInt(MAX_HEADER)) fail(`its header of ${length} bytes is over the limit of ${MAX_HEADER}`);
  const start = 8 + Number(length);
  const text = decode(source.read(8, Number(length)), fail);
  const header = parseHeader(text, fail);
  const metadata = new Map<string, string>();
  const tensors: [string, TensorInfo][] = [];
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') readMetadata(entry, metadata, fail);
    else tensors.push([name, readInfo(name, entry, start, source.size, fail)]);
  }
  checkLayout(tensors, start, source.size, fail);
  return { metadata, tensors: new Map(tensors) };
}

type Fail = (what: string) => never;

function decode(bytes: Uint8Array, fail: Fail): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return fail('its header is not UTF-8 text');
  }
}

function parseHeader(text: string, fail: Fail): Record<string, unknown> {
  if (!text.startsWith('{')) fail('its header is no JSON object');
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch {
    fail('its header is no JSON');
  }
  const twice = duplicateKey(text);
  if (twice !== undefined) fail(`its header has "${clip(twice)}" twice`);
  return header as Record<string, unknown>;
}

function readMetadata(entry: unknown, into: Map<string, string>, fail: Fail): void {
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) fail('__metadata__ is no object');
  for (const [key, value] of Object.entries(entry as object)) {
    if (typeof value !== 'string') fail(`__metadata__ "${clip(key)}" is no text`);
    into.set(key, value);
  }
}

function readInfo(name: string, entry: unknown, start: number, size: number, fail: Fail): TensorInfo {
  const label = `tensor "${clip(name)}"`;
  if (typeof entry !== 'object' || entry === null) fail(`${label} has no description`);
  const { dtype, shape, data_offsets: offsets } = entry as Record<string, unknown>;
  const width = typeof dtype === 'string' ? elementSize(dtype) : undefined;
  if (width === undefined) fail(`${label} has the unknown type ${clip(JSON.stringify(dtype) ?? 'none')}`);
  if (!Array.isArray(shape) || shape.length > MAX_RANK || !shape.every(isSize))
    fail(`${label} has a bad shape`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize))
    fail(`${label} has bad offsets`);
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > size - start) fail(`${label} lies outside the file`);
  const bytes = (shape as number[]).reduce((product, n) => product * n, width!);
  if (!Number.isSafeInteger(bytes) || bytes !== end - begin) {
    fail(`${label} needs ${bytes} bytes for its shape and type, but has ${end - begin}`);
  }
  return {
    dtype: dtype as FileDType,
    shape: shape as number[],
    offset: start + begin,
    byteLength: end - begin,
  };
}

const isSize = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const clip = (text: string): string => (text.length > 80 ? `${text.slice(0, 77)}...` : text);

/** Tensors fill the data part one after the other, without holes or overlaps. */
function checkLayout(tensors: [string, TensorInfo][], start: number, size: number, fail: Fail): void {
  tensors.sort(([, a], [, b]) => a.offset - b.offset || a.byteLength - b.byteLength);
  let at = start;
  for (const [name, info] of tensors) {
    if (info.offset !== at)
      fail(`tensor "${clip(name)}" ${info.offset < at ? 'overlaps another' : 'follows a hole'}`);
    at += info.byteLength;
  }
  if (at !== size) fail(`${size - at} bytes at its end belong to no tensor`);
}
