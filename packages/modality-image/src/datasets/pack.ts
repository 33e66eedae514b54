/**
 * The cache file of a prepared dataset: all pictures decoded, in one file that is read at once.
 *
 *   8 bytes   "D2VPACK1"
 *   4 bytes   length of the header, little-endian
 *   header    JSON, see `PackHeader`
 *   count     labels, one byte each
 *   count     split, one byte each: 0 training, 1 held out
 *   rest      pixels, count x height x width x channels
 *
 * Sizes are checked against the file's before memory is taken; the header holds the SHA-256 of all that follows it.
 */
import { createHash } from 'node:crypto';
import { mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { writeFileAtomic, z } from '@d2v/core';

const MAGIC = 'D2VPACK1';
const PREFIX = MAGIC.length + 4;
const MAX_HEADER = 8 << 20;

const size = z.int().min(1).max(65_536);
const headerSchema = z.object({
  name: z.string(),
  /** Version of the preparation: a change of what is in the file gets a new number. */
  version: z.int(),
  license: z.string(),
  /** The package it was made from, and its integrity hash. */
  source: z.string(),
  integrity: z.string(),
  count: z.int().min(1).max(10_000_000),
  width: size,
  height: size,
  channels: z.union([z.literal(1), z.literal(3)]),
  classes: z.array(z.string()).min(1).max(256),
  /** Names of the samples, if they have any. */
  names: z.array(z.string()).nullable(),
  sha256: z.string(),
});

export type PackHeader = z.output<typeof headerSchema>;

/** A prepared dataset in memory. */
export interface Pack {
  header: PackHeader;
  labels: Uint8Array;
  /** 1 = held out. */
  heldOut: Uint8Array;
  pixels: Uint8Array;
}

/** A cache file that is not (or no longer) what was written. */
export class DamagedPackError extends Error {
  override readonly name = 'DamagedPackError';
}

/** Writes a pack under its final name in one step: readers see a whole file or none, and of several writers one wins. */
export async function writePack(
  file: string,
  pack: Omit<Pack, 'header'> & { header: Omit<PackHeader, 'sha256'> },
) {
  const { labels, heldOut, pixels } = pack;
  const header = Buffer.from(JSON.stringify({ ...pack.header, sha256: digest(labels, heldOut, pixels) }));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(header.length);
  await mkdir(dirname(file), { recursive: true });
  await writeFileAtomic(file, Buffer.concat([Buffer.from(MAGIC), length, header, labels, heldOut, pixels]));
}

/**
 * Reads and verifies a pack; null if there is no such file.
 * @throws DamagedPackError if its content is not what was written
 */
export async function readPack(file: string): Promise<Pack | null> {
  const handle = await open(file, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (!handle) return null;
  try {
    const total = (await handle.stat()).size;
    const prefix = await readExactly(handle, 0, Math.min(PREFIX, total));
    if (prefix.length < PREFIX || prefix.toString('latin1', 0, MAGIC.length) !== MAGIC) {
      throw new DamagedPackError('not a prepared dataset');
    }
    const headerLength = prefix.readUInt32LE(MAGIC.length);
    if (headerLength > MAX_HEADER || PREFIX + headerLength > total)
      throw new DamagedPackError('cut off in its header');
    const header = parseHeader((await readExactly(handle, PREFIX, headerLength)).toString('utf8'));
    const { count, width, height, channels } = header;
    const payload = count * (2 + width * height * channels);
    if (PREFIX + headerLength + payload !== total) throw new DamagedPackError('of the wrong length');
    const bytes = await readExactly(handle, PREFIX + headerLength, payload);
    if (digest(bytes) !== header.sha256) throw new DamagedPackError('of the wrong content (checksum)');
    const labels = bytes.subarray(0, count);
    if (labels.some((label) => label >= header.classes.length))
      throw new DamagedPackError('a label has no class');
    return { header, labels, heldOut: bytes.subarray(count, 2 * count), pixels: bytes.subarray(2 * count) };
  } finally {
    await handle.close();
  }
}

function digest(...parts: Uint8Array[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
}

function parseHeader(text: string): PackHeader {
  try {
    const header = headerSchema.parse(JSON.parse(text));
    if (header.names && header.names.length !== header.count)
      throw new Error('names and samples differ in number');
    return header;
  } catch (error) {
    throw new DamagedPackError('its header cannot be read', { cause: error });
  }
}

async function readExactly(handle: Awaited<ReturnType<typeof open>>, position: number, length: number) {
  const bytes = Buffer.alloc(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(bytes, done, length - done, position + done);
    if (bytesRead === 0) throw new DamagedPackError('cut off');
    done += bytesRead;
  }
  return bytes;
}
