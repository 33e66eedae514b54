/** MP3 (and layers I and II): frames are found here, and decoded by mpg123 as WebAssembly. */
import { BadSampleError } from '@d2v/core';
import type { AudioFile } from './audio-file.js';
import { type ByteReader, tagAt } from './bytes.js';
import {
  type EncoderTag,
  HEADER_SIZE,
  type MpegHeader,
  parseEncoderTag,
  parseMpegHeader,
  sameStream,
} from './mp3-frames.js';
import { checked, MonoWindow, quietly, withDecoder } from './wasm.js';

/** Bytes read at a time. */
const CHUNK = 1 << 18;
/** How far into a file the first frame may be, after tags. */
const SEARCH = 1 << 16;
/** Frames before the wanted ones that are decoded as well: one may lean on 511 bytes of earlier ones, which can be small. */
const WARM_UP = 32;
/** A place in the file is remembered for every so many frames. */
const STEP = 64;
/** The decoder's own delay. */
const DECODER_DELAY = 529;
/** Between damaged frames, so many bytes are searched for the next one. */
const RESYNC = 1 << 16;

/** Whether the first bytes may be of such a file. */
export function looksLikeMp3(head: Uint8Array): boolean {
  return tagAt(head, 0, 3) === 'ID3' || parseMpegHeader(head, 0) !== null;
}

/** Where the sound is, and what it is. */
interface Stream {
  /** Offset of the first frame of sound. */
  start: number;
  header: MpegHeader;
  tag: EncoderTag | null;
}

/** All frames of a file, found by going from header to header. */
interface FrameIndex {
  count: number;
  /** Offset of every `STEP`-th frame. */
  offsets: number[];
}

export async function openMp3(bytes: ByteReader, name: string): Promise<AudioFile> {
  const stream = await findStream(bytes, name);
  const { header, tag } = stream;
  // Without a statement of the encoder's the frames have to be counted.
  const frames = tag?.frames ?? (await indexOf(bytes, stream, name)).count;
  const { delay = null, padding = 0 } = tag ?? {};
  const skipped = delay === null ? 0 : delay + DECODER_DELAY;
  const behind = delay === null ? 0 : Math.max(0, padding - DECODER_DELAY);
  const length = Math.max(0, frames * header.samples - skipped - behind);
  return {
    sampleRate: header.sampleRate,
    channels: header.channels,
    length,
    async read(start, count) {
      const index = await indexOf(bytes, stream, name);
      if (index.count < frames) {
        throw new BadSampleError(name, `truncated: ${index.count} of ${frames} frames are there`);
      }
      return decode(bytes, stream, index, start + skipped, count, name);
    },
  };
}

/** Indexes of the files that were read last: clips of a long file come one after the other. */
const indexes = new Map<string, FrameIndex>();
const MOST_INDEXES = 64;

async function indexOf(bytes: ByteReader, stream: Stream, name: string): Promise<FrameIndex> {
  const key = bytes.identity ?? '';
  const index = indexes.get(key) ?? (await scan(bytes, stream, name));
  indexes.delete(key);
  if (key) indexes.set(key, index);
  if (indexes.size > MOST_INDEXES) indexes.delete(indexes.keys().next().value!);
  return index;
}

/** Passes over tags to the first frame, which another one must follow. */
async function findStream(bytes: ByteReader, name: string): Promise<Stream> {
  let at = 0;
  for (;;) {
    const head = await bytes.read(at, 10);
    if (tagAt(head, 0, 3) !== 'ID3' || head.length < 10) break;
    const size = head.subarray(6, 10).reduce((sum, byte) => sum * 128 + (byte & 127), 0);
    at += 10 + size + (head[5]! & 0x10 ? 10 : 0);
  }
  const part = await bytes.read(at, SEARCH + CHUNK);
  for (let i = part.indexOf(0xff); i >= 0 && i < SEARCH; i = part.indexOf(0xff, i + 1)) {
    const header = parseMpegHeader(part, i);
    if (!header) continue;
    const following = parseMpegHeader(part, i + header.bytes);
    const alone = at + i + header.bytes === bytes.size;
    if (!alone && !(following && sameStream(header, following))) continue;
    const tag = parseEncoderTag(part.subarray(i, i + header.bytes), header);
    return { start: at + i + (tag ? header.bytes : 0), header, tag };
  }
  throw new BadSampleError(name, 'not an audio file, or a damaged MP3 file: it has no frames');
}

/** Finds all frames. What is between them (damage, tags) is passed over. */
async function scan(bytes: ByteReader, { start, header }: Stream, name: string): Promise<FrameIndex> {
  const index: FrameIndex = { count: 0, offsets: [] };
  for await (const { offset } of frames(bytes, start, header, name)) {
    if (index.count % STEP === 0) index.offsets.push(offset);
    index.count++;
  }
  return index;
}

/** The frames from an offset on. */
async function* frames(
  bytes: ByteReader,
  start: number,
  first: MpegHeader,
  name: string,
): AsyncGenerator<{ offset: number; data: Uint8Array }> {
  let offset = start;
  let searched = 0;
  while (offset + HEADER_SIZE <= bytes.size) {
    const part = await bytes.read(offset, CHUNK);
    let at = 0;
    while (at + HEADER_SIZE <= part.length) {
      const header = parseMpegHeader(part, at);
      if (!header || !sameStream(first, header)) {
        if (isTail(part, at)) return;
        at++;
        if (++searched > RESYNC) throw new BadSampleError(name, 'damaged MP3 file');
        continue;
      }
      if (at + header.bytes > part.length) break;
      searched = 0;
      yield { offset: offset + at, data: part.subarray(at, at + header.bytes) };
      at += header.bytes;
    }
    // What is left is less than a frame: the last one was cut off.
    if (at === 0 || offset + part.length >= bytes.size) return;
    offset += at;
  }
}

/** Tags that come after the sound. */
function isTail(part: Uint8Array, at: number): boolean {
  const id = tagAt(part, at);
  return id.startsWith('TAG') || id === 'APET' || id === 'LYRI';
}

async function decode(
  bytes: ByteReader,
  { start, header }: Stream,
  index: FrameIndex,
  from: number,
  count: number,
  name: string,
): Promise<Float32Array> {
  const { MPEGDecoder } = await import('mpg123-decoder');
  const window = new MonoWindow(from, count);
  const wanted = Math.max(0, Math.floor(from / header.samples) - WARM_UP);
  const step = Math.min(Math.floor(wanted / STEP), index.offsets.length - 1);
  let frame = step * STEP;
  await withDecoder(new MPEGDecoder({ enableGapless: false }), async (decoder) => {
    for await (const { data } of frames(bytes, index.offsets[step] ?? start, header, name)) {
      if (frame >= wanted) {
        const decoded = quietly(() => decoder.decodeFrame(data));
        if (decoded.samplesDecoded !== header.samples) {
          checked(decoded, name);
          throw new BadSampleError(name, `damaged MP3 file: frame ${frame} cannot be decoded`);
        }
        window.add(frame * header.samples, { ...decoded, channelData: mono(decoded.channelData, header) });
      }
      frame++;
      if (window.complete) break;
    }
  });
  if (!window.complete) throw new BadSampleError(name, 'damaged or truncated MP3 file');
  return window.out;
}

/** The decoder gives two channels even where there is one. */
function mono(channels: Float32Array[], header: MpegHeader): Float32Array[] {
  return header.channels === 1 ? channels.slice(0, 1) : channels;
}
