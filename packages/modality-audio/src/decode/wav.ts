/**
 * WAV: RIFF, and RF64/BW64 beyond 4 GB; integers of 8 to 32 bits, floats, A-law and mu-law. Our own reader, because
 * libraries for it take whole files into memory.
 */
import { BadSampleError } from '@d2v/core';
import type { AudioFile } from './audio-file.js';
import { type ByteReader, tagAt, viewOf } from './bytes.js';
import { BYTES_PER_SAMPLE, mixPcm, type PcmEncoding } from './pcm.js';

/** Chunks before the samples: more are not a sound file but a trap. */
const MOST_CHUNKS = 1000;
/** Written where a program did not know the size yet. */
const UNKNOWN_SIZE = 0xffff_ffff;
/** Frames that are decoded at a time. */
const BLOCK = 1 << 16;

interface Format {
  encoding: PcmEncoding;
  channels: number;
  sampleRate: number;
}

export async function openWav(bytes: ByteReader, name: string): Promise<AudioFile> {
  const { format, start, size } = await findData(bytes, name);
  const { encoding, channels, sampleRate } = format;
  const frame = BYTES_PER_SAMPLE[encoding] * channels;
  return {
    sampleRate,
    channels,
    length: Math.floor(size / frame),
    async read(from, count) {
      const out = new Float32Array(count);
      for (let done = 0; done < count; ) {
        const wanted = Math.min(BLOCK, count - done);
        const part = await bytes.read(start + (from + done) * frame, wanted * frame);
        if (part.length < wanted * frame) throw new BadSampleError(name, 'was cut off while it was read');
        out.set(mixPcm(part, encoding, channels), done);
        done += wanted;
      }
      return out;
    },
  };
}

/** The format and the place of the samples. */
async function findData(
  bytes: ByteReader,
  name: string,
): Promise<{ format: Format; start: number; size: number }> {
  let format: Format | null = null;
  let longSize: number | null = null;
  let at = 12;
  for (let chunk = 0; chunk < MOST_CHUNKS && at + 8 <= bytes.size; chunk++) {
    const head = await bytes.read(at, 8);
    const [id, stated] = [tagAt(head, 0), viewOf(head).getUint32(4, true)];
    const start = at + 8;
    if (id === 'fmt ') format = parseFormat(await bytes.read(start, Math.min(stated, 40)), name);
    else if (id === 'ds64') longSize = parseLongSize(await bytes.read(start, Math.min(stated, 16)), name);
    else if (id === 'data') {
      if (!format) throw new BadSampleError(name, 'damaged WAV file: samples before their format');
      return { format, start, size: dataSize(stated, longSize, bytes.size - start, name) };
    }
    at = start + stated + (stated % 2);
  }
  throw new BadSampleError(name, 'truncated or damaged WAV file: it has no samples');
}

/** Size of the samples in the `ds64` chunk of RF64 and BW64. */
function parseLongSize(chunk: Uint8Array, name: string): number {
  if (chunk.length < 16) throw new BadSampleError(name, 'damaged WAV file: its sizes are cut off');
  return Number(viewOf(chunk).getBigUint64(8, true));
}

function dataSize(stated: number, longSize: number | null, rest: number, name: string): number {
  if (stated === UNKNOWN_SIZE && longSize === null) return rest;
  const size = stated === UNKNOWN_SIZE ? longSize! : stated;
  if (size > rest) throw new BadSampleError(name, `truncated: ${rest} of ${size} bytes of samples are there`);
  return size;
}

const ENCODINGS: Record<number, Record<number, PcmEncoding>> = {
  1: { 8: 'u8', 16: 's16', 24: 's24', 32: 's32' },
  3: { 32: 'f32', 64: 'f64' },
  6: { 8: 'alaw' },
  7: { 8: 'mulaw' },
};
const EXTENSIBLE = 0xfffe;

function parseFormat(chunk: Uint8Array, name: string): Format {
  if (chunk.length < 16) throw new BadSampleError(name, 'damaged WAV file: its format is cut off');
  const view = viewOf(chunk);
  let tag = view.getUint16(0, true);
  const channels = view.getUint16(2, true);
  const sampleRate = view.getUint32(4, true);
  const frame = view.getUint16(12, true);
  const bits = view.getUint16(14, true);
  if (tag === EXTENSIBLE && chunk.length >= 26) tag = view.getUint16(24, true);
  // 12 or 20 bits are kept in the upper part of 16 or 24.
  const container = channels > 0 ? (frame / channels) * 8 : bits;
  const encoding = ENCODINGS[tag]?.[tag === 1 && bits <= container ? container : bits];
  if (!encoding || frame !== BYTES_PER_SAMPLE[encoding] * channels) {
    throw new BadSampleError(
      name,
      `WAV of an unsupported kind (format ${tag}, ${bits} bits, ${channels} channels)`,
    );
  }
  return { encoding, channels, sampleRate };
}
