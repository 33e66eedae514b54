/** The pages of an Ogg file (RFC 3533), found from any place in it. */
import { BadSampleError } from '@d2v/core';
import { type ByteReader, tagAt, viewOf } from './bytes.js';

const HEAD_SIZE = 27;
/** Of a page: 255 segments of 255 bytes and its head. */
export const LONGEST_PAGE = HEAD_SIZE + 255 + 255 * 255;
const CHUNK = 1 << 17;
/** Bytes at the end that are searched for the last page of a stream. */
const TAIL = 1 << 20;

const CHAINED = 'a chain of Ogg streams, which is not supported: split it';

export interface OggPage {
  offset: number;
  /** The whole page. */
  bytes: Uint8Array;
  serial: number;
  /** It is the first one of its stream. */
  begins: boolean;
  /** It is the last one of its stream, whose position may be before the end of what it decodes to. */
  ends: boolean;
  /** Position after the last packet that ends on the page, in samples; -1 if none does. */
  granule: number;
  /** Its first packet began on an earlier page. */
  continued: boolean;
  /** Lengths of the packets' parts; the last one is `open` if its packet goes on. */
  parts: number[];
  open: boolean;
  body: Uint8Array;
}

/** One page at a place in bytes; null if there is none, or if it is not all there, or damaged. */
function parsePage(bytes: Uint8Array, at: number, offset: number): OggPage | null {
  if (at + HEAD_SIZE > bytes.length || tagAt(bytes, at) !== 'OggS' || bytes[at + 4] !== 0) return null;
  const view = viewOf(bytes);
  const segments = bytes[at + 26]!;
  const lacing = bytes.subarray(at + HEAD_SIZE, at + HEAD_SIZE + segments);
  const bodyAt = at + HEAD_SIZE + segments;
  const end = bodyAt + lacing.reduce((sum, n) => sum + n, 0);
  if (end > bytes.length) return null;
  const page = bytes.subarray(at, end);
  if (checksum(page) !== view.getUint32(at + 22, true)) return null;
  const parts: number[] = [];
  let length = 0;
  for (const n of lacing) {
    length += n;
    if (n === 255) continue;
    parts.push(length);
    length = 0;
  }
  const open = lacing.at(-1) === 255;
  if (open) parts.push(length);
  return {
    offset,
    bytes: page,
    serial: view.getUint32(at + 14, true),
    begins: (bytes[at + 5]! & 2) !== 0,
    ends: (bytes[at + 5]! & 4) !== 0,
    granule: Number(view.getBigInt64(at + 6, true)),
    continued: (bytes[at + 5]! & 1) !== 0,
    parts,
    open,
    body: bytes.subarray(bodyAt, end),
  };
}

/** One logical stream of an Ogg file. */
export class OggStream {
  constructor(
    private readonly bytes: ByteReader,
    private readonly serial: number,
    private readonly name: string,
  ) {}

  /** The stream that a file begins with. */
  static async open(bytes: ByteReader, name: string): Promise<{ stream: OggStream; first: OggPage }> {
    const first = parsePage(await bytes.read(0, LONGEST_PAGE), 0, 0);
    if (!first) throw new BadSampleError(name, 'truncated or damaged Ogg file');
    return { stream: new OggStream(bytes, first.serial, name), first };
  }

  /**
   * The pages from an offset on.
   * @throws BadSampleError where they stop before the file does, or where a stream begins after another one has begun to
   * sound
   */
  async *pages(from: number): AsyncGenerator<OggPage> {
    let offset = from;
    // The first pages of streams that sound at the same time all come before everything else.
    let beginning = from === 0;
    while (offset < this.bytes.size) {
      const part = await this.bytes.read(offset, CHUNK);
      let at = 0;
      for (let page = parsePage(part, at, offset + at); page; page = parsePage(part, at, offset + at)) {
        at += page.bytes.length;
        beginning &&= page.begins;
        if (page.begins && !beginning) throw this.chained();
        if (page.serial === this.serial) yield page;
      }
      if (at === 0) throw new BadSampleError(this.name, 'damaged or truncated Ogg file');
      offset += at;
    }
  }

  /**
   * The last position in the stream, in samples.
   * @param sound offset of the first page of sound
   * @throws BadSampleError if the file is cut off, or if another stream follows
   */
  async lastGranule(sound: number): Promise<number> {
    const from = Math.max(sound, this.bytes.size - TAIL);
    const tail = await this.bytes.read(from, TAIL);
    for (let at = pageAt(tail, 0); at >= 0; at = pageAt(tail, at + 1)) {
      // Only pages that say that a stream begins are worth a checksum.
      if (tail[at + 5]! & 2 && parsePage(tail, at, from + at)) throw this.chained();
    }
    for (let at = lastPageAt(tail, tail.length); at >= 0; at = lastPageAt(tail, at)) {
      const page = parsePage(tail, at, from + at);
      if (page?.serial === this.serial && page.granule >= 0) {
        if (from + at + page.bytes.length === this.bytes.size) return page.granule;
        // Pages of other streams may follow, but nothing else.
        for await (const _page of this.pages(page.offset));
        return page.granule;
      }
    }
    throw new BadSampleError(this.name, `truncated Ogg file, or ${CHAINED}`);
  }

  private chained(): BadSampleError {
    return new BadSampleError(this.name, CHAINED);
  }

  /**
   * Finds, by halving, a page to decode from: it begins with a packet of its own, and what ends before it ends at or
   * before a position. It is not the last page, whose own position does not tell where its samples begin. Gives the first
   * page of sound if there is no such page.
   * @param sound offset of the first page of sound
   * @returns its offset
   */
  async seek(granule: number, sound: number): Promise<number> {
    if (granule <= 0) return sound;
    let low = sound;
    let high = this.bytes.size;
    while (high - low > 2 * CHUNK) {
      const middle = low + Math.floor((high - low) / 2);
      const page = await this.cleanPage(middle, high);
      if (!page || page.granule > granule) high = middle;
      else low = page.offset;
    }
    // Page by page from there: the next one may be begun at once the one before it has ended early enough.
    let best = low;
    let ended = Number.POSITIVE_INFINITY;
    for await (const page of this.pages(low)) {
      if (ended <= granule && !page.continued && !page.ends) best = page.offset;
      if (page.granule >= 0) ended = page.granule;
      if (page.granule > granule) break;
    }
    return best;
  }

  /** The first page after an offset on which a packet begins and one ends. */
  private async cleanPage(from: number, to: number): Promise<OggPage | null> {
    for (let offset = from; offset < to; ) {
      const part = await this.bytes.read(offset, CHUNK);
      for (let at = pageAt(part, 0); at >= 0; at = pageAt(part, at + 1)) {
        const page = parsePage(part, at, offset + at);
        if (page?.serial === this.serial && page.granule >= 0 && !page.continued) return page;
      }
      if (part.length < CHUNK) return null;
      offset += CHUNK - LONGEST_PAGE;
    }
    return null;
  }
}

const CAPTURE = Buffer.from('OggS');

function pageAt(bytes: Uint8Array, from: number): number {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).indexOf(CAPTURE, from);
}

function lastPageAt(bytes: Uint8Array, before: number): number {
  if (before === 0) return -1;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).lastIndexOf(CAPTURE, before - 1);
}

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  let crc = n << 24;
  for (let bit = 0; bit < 8; bit++) crc = (crc << 1) ^ (crc < 0 ? 0x04c1_1db7 : 0);
  return crc;
});

/** Of a page, with its own field taken as zero. */
export function checksum(page: Uint8Array): number {
  let crc = 0;
  for (let i = 0; i < page.length; i++) {
    const byte = i >= 22 && i < 26 ? 0 : page[i]!;
    crc = (crc << 8) ^ CRC[((crc >>> 24) ^ byte) & 0xff]!;
  }
  return crc >>> 0;
}
