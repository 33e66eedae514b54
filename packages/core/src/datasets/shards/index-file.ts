/**
 * The index of a tar shard, beside it as `<shard>.idx`: where each sample's files are, so that any of them is one read away.
 *
 *   8 bytes            "D2VTIDX1"
 *   4 bytes            length of the header, little-endian
 *   header             JSON, see `IndexHeader`, filled up with spaces to a multiple of 4 bytes
 *   count x fields     u32: where the content begins, in blocks of 512 bytes
 *   count x fields     u32: its length; 0xffffffff where the sample has no such file
 *   count              i32: label, -1 if there is none
 *   count              u32: where the sample's key ends among the keys
 *   rest               keys, UTF-8
 */
import { z } from 'zod';
import { ArchiveError } from '../archives/limits.js';

const MAGIC = 'D2VTIDX1';
const PREFIX = MAGIC.length + 4;
const MOST_HEADER = 1 << 20;

export const BLOCK = 512;
export const ABSENT = 0xffffffff;

const headerSchema = z.object({
  format: z.literal(1),
  /** Size of the shard: an index of another version of it is not used. */
  bytes: z.int().min(0),
  count: z.int().min(0),
  /** Endings of the samples' files, without the first dot, sorted. */
  fields: z.array(z.string()).max(64),
  keyBytes: z.int().min(0),
});

export type IndexHeader = z.output<typeof headerSchema>;

/** An index in memory; the keys stay in the file. */
export interface ShardIndex {
  header: IndexHeader;
  /** [count, fields] */
  blocks: Uint32Array;
  /** [count, fields] */
  sizes: Uint32Array;
  labels: Int32Array;
  keyEnds: Uint32Array;
  /** Where the keys begin in the file. */
  keysAt: number;
}

/** A sample as it is being indexed. */
export interface IndexedSample {
  key: string;
  label: number;
  /** By ending: where the content begins, in bytes, and its length. */
  files: ReadonlyMap<string, { offset: number; bytes: number }>;
}

/** The content of an index file. */
export function encodeIndex(samples: readonly IndexedSample[], shardBytes: number): Buffer {
  const fields = [...new Set(samples.flatMap(({ files }) => [...files.keys()]))].sort();
  const count = samples.length;
  const keys = samples.map(({ key }) => Buffer.from(key));
  const keyBytes = keys.reduce((sum, key) => sum + key.length, 0);
  const header: IndexHeader = { format: 1, bytes: shardBytes, count, fields, keyBytes };
  const json = Buffer.from(JSON.stringify(header));
  const head = Buffer.alloc(PREFIX + Math.ceil(json.length / 4) * 4, ' ');
  head.write(MAGIC, 'latin1');
  head.writeUInt32LE(head.length - PREFIX, MAGIC.length);
  json.copy(head, PREFIX);
  const width = fields.length;
  const numbers = Buffer.alloc(count * (8 * width + 8));
  const [sizesAt, labelsAt] = [count * width * 4, count * width * 8];
  let end = 0;
  for (const [i, { label, files }] of samples.entries()) {
    for (const [f, field] of fields.entries()) {
      const file = files.get(field);
      numbers.writeUInt32LE(file ? file.offset / BLOCK : 0, 4 * (i * width + f));
      numbers.writeUInt32LE(file ? file.bytes : ABSENT, sizesAt + 4 * (i * width + f));
    }
    end += keys[i]!.length;
    numbers.writeInt32LE(label, labelsAt + 4 * i);
    numbers.writeUInt32LE(end, labelsAt + 4 * (count + i));
  }
  return Buffer.concat([head, numbers, ...keys]);
}

/**
 * Reads an index through `read`, which gives bytes at a place of the file.
 * @returns null if it is of another version of the shard
 * @throws ArchiveError if it is damaged
 */
export function decodeIndex(
  path: string,
  fileBytes: number,
  shardBytes: number,
  read: (position: number, length: number) => Buffer,
): ShardIndex | null {
  const fail = (): never => {
    throw new ArchiveError(path, null, 'the index is damaged: remove it, it is made again');
  };
  if (fileBytes < PREFIX) return fail();
  const prefix = read(0, PREFIX);
  const length = prefix.readUInt32LE(MAGIC.length);
  if (
    prefix.toString('latin1', 0, MAGIC.length) !== MAGIC ||
    length > MOST_HEADER ||
    PREFIX + length > fileBytes
  ) {
    return fail();
  }
  const header = parseHeader(read(PREFIX, length).toString('utf8')) ?? fail();
  if (header.bytes !== shardBytes) return null;
  const { count, keyBytes } = header;
  const width = header.fields.length;
  const numbers = count * (8 * width + 8);
  if (PREFIX + length + numbers + keyBytes !== fileBytes) return fail();
  const bytes = read(PREFIX + length, numbers);
  const words = (from: number, many: number) => {
    const copy = new Uint32Array(many);
    new Uint8Array(copy.buffer).set(bytes.subarray(from, from + 4 * many));
    return copy;
  };
  const blocks = words(0, count * width);
  const sizes = words(4 * count * width, count * width);
  const labels = new Int32Array(words(8 * count * width, count).buffer);
  const keyEnds = words(8 * count * width + 4 * count, count);
  for (let i = 0; i < sizes.length; i++) {
    if (sizes[i] !== ABSENT && blocks[i]! * BLOCK + sizes[i]! > shardBytes) return fail();
  }
  if (keyEnds.some((end, i) => end > keyBytes || end < (keyEnds[i - 1] ?? 0))) return fail();
  return { header, blocks, sizes, labels, keyEnds, keysAt: PREFIX + length + numbers };
}

function parseHeader(text: string): IndexHeader | null {
  try {
    return headerSchema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}
