/**
 * MATLAB's MAT files, version 5 (what `save` writes since 1996): as much of the format as tables of numbers and texts need.
 *
 * A file is a header of 128 bytes and elements: a tag (type and length) with its content, filled up to 8 bytes. Variables are
 * matrices, mostly compressed one by one with zlib; a struct array holds a matrix per element and field, elements outermost.
 */
import { constants, inflateSync } from 'node:zlib';
import { ArchiveError } from '@d2v/core';

/** Numbers and texts of a matrix in column-major order; structs as objects, cells as lists. */
export type MatValue = number[] | string | MatValue[] | { [field: string]: MatValue }[];

/** Content of one variable, unpacked. */
const MOST_BYTES = 256 << 20;
const MOST_DEPTH = 8;
const MOST_ELEMENTS = 4 << 20;

const HEADER = 128;
const MATRIX = 14;
const COMPRESSED = 15;
const CELL = 1;
const STRUCT = 2;
const CHAR = 4;

interface Element {
  type: number;
  data: Buffer;
}

/**
 * The variables of a MAT file by name.
 * @param file for messages
 * @throws ArchiveError when it is damaged, or of a kind that is not supported
 */
export function readMat(bytes: Buffer, file: string): Map<string, MatValue> {
  const fail = (reason: string): never => {
    throw new ArchiveError(file, null, `it is no MAT file of version 5 (${reason})`);
  };
  if (bytes.length < HEADER) fail('cut off in its header');
  if (bytes.toString('latin1', 126, 128) !== 'IM') fail('not little-endian, or something else');
  const variables = new Map<string, MatValue>();
  try {
    for (const element of elements(bytes.subarray(HEADER))) {
      const { name, value } = matrix(plain(element), 0);
      variables.set(name, value);
    }
  } catch (error) {
    if (error instanceof ArchiveError) throw error;
    fail((error as Error).message);
  }
  return variables;
}

function plain(element: Element): Element {
  if (element.type !== COMPRESSED) return element;
  const options = { maxOutputLength: MOST_BYTES, finishFlush: constants.Z_SYNC_FLUSH };
  const [inner] = elements(inflateSync(element.data, options));
  if (!inner) throw new Error('an empty variable');
  return inner;
}

function* elements(bytes: Buffer): Generator<Element> {
  for (let at = 0; at + 8 <= bytes.length; ) {
    const word = bytes.readUInt32LE(at);
    // Up to 4 bytes of content may stand in the tag itself: its length is then in the upper half.
    const small = word >>> 16;
    const [type, length, from] = small
      ? [word & 0xffff, small, at + 4]
      : [word, bytes.readUInt32LE(at + 4), at + 8];
    if (from + length > bytes.length || (small && small > 4)) throw new Error(`cut off at byte ${at}`);
    yield { type, data: bytes.subarray(from, from + length) };
    at = small ? at + 8 : from + (type === COMPRESSED ? length : Math.ceil(length / 8) * 8);
  }
}

function matrix({ type, data }: Element, depth: number): { name: string; value: MatValue } {
  if (type !== MATRIX) throw new Error(`an element of type ${type} where a matrix should be`);
  if (depth > MOST_DEPTH) throw new Error('nested too deeply');
  // An empty one has no parts at all.
  if (data.length === 0) return { name: '', value: [] };
  const parts = [...elements(data)];
  const [flags, dimensions, name, ...content] = parts;
  if (!flags || !dimensions || !name || flags.data.length < 4) throw new Error('a matrix without its parts');
  const kind = flags.data[0]!;
  const count = numbers(dimensions).reduce((product, size) => product * size, 1);
  if (!Number.isInteger(count) || count < 0 || count > MOST_ELEMENTS) throw new Error(`${count} elements`);
  return { name: name.data.toString('latin1'), value: contentOf(kind, count, content, depth) };
}

function contentOf(kind: number, count: number, content: Element[], depth: number): MatValue {
  const nested = (i: number): MatValue => {
    const element = content[i];
    if (!element) throw new Error('fewer elements than stated');
    return matrix(element, depth + 1).value;
  };
  if (kind === CELL) return Array.from({ length: count }, (_, i) => nested(i));
  if (kind === STRUCT) {
    const [nameLength, names] = content.splice(0, 2);
    const fields = names ? fieldNames(names.data, numbers(nameLength!)[0] ?? 0) : [];
    return Array.from({ length: count }, (_, i) =>
      Object.fromEntries(fields.map((field, f) => [field, nested(i * fields.length + f)])),
    );
  }
  const [real] = content;
  if (kind === CHAR) return real ? text(real) : '';
  // Sparse matrices and objects are of no use here; the rest are numbers, whatever they are stored as.
  if (kind < 6 || kind > 15) throw new Error(`a variable of class ${kind}`);
  return real ? numbers(real) : [];
}

function fieldNames(bytes: Buffer, length: number): string[] {
  if (length < 1 || bytes.length % length !== 0) throw new Error('field names of no length');
  return Array.from({ length: bytes.length / length }, (_, i) =>
    bytes.toString('latin1', i * length, (i + 1) * length).replace(/\0.*$/s, ''),
  );
}

function text({ type, data }: Element): string {
  // UTF-16, or 16-bit numbers that are the same.
  return type === 4 || type === 17 ? data.toString('utf16le') : data.toString('utf8');
}

/** By type of storage: bytes per number, and how one is read. */
const STORED: Record<number, [number, (bytes: Buffer, at: number) => number]> = {
  1: [1, (bytes, at) => bytes.readInt8(at)],
  2: [1, (bytes, at) => bytes.readUInt8(at)],
  3: [2, (bytes, at) => bytes.readInt16LE(at)],
  4: [2, (bytes, at) => bytes.readUInt16LE(at)],
  5: [4, (bytes, at) => bytes.readInt32LE(at)],
  6: [4, (bytes, at) => bytes.readUInt32LE(at)],
  7: [4, (bytes, at) => bytes.readFloatLE(at)],
  9: [8, (bytes, at) => bytes.readDoubleLE(at)],
  12: [8, (bytes, at) => Number(bytes.readBigInt64LE(at))],
  13: [8, (bytes, at) => Number(bytes.readBigUInt64LE(at))],
};

function numbers({ type, data }: Element): number[] {
  const stored = STORED[type];
  if (!stored) throw new Error(`numbers of type ${type}`);
  const [size, read] = stored;
  return Array.from({ length: Math.floor(data.length / size) }, (_, i) => read(data, i * size));
}
