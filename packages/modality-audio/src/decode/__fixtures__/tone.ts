/** What the encoded files hold, and ways to write files of any length. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { checksum } from '../ogg-pages.js';

export const RATE = 22_050;
export const LENGTH = 44_100;

export const fixture = (name: string) => fileURLToPath(new URL(name, import.meta.url));
export const fixtureBytes = (name: string) => new Uint8Array(readFileSync(fixture(name)));

const left = (t: number) => 0.5 * Math.sin(2 * Math.PI * (200 * t + 350 * t * t));
const right = (t: number) => 0.3 * Math.sin(2 * Math.PI * (2500 * t - 500 * t * t));

/** The mean of both channels at a rate. */
export function tone(rate = RATE, length = LENGTH): Float32Array {
  return Float32Array.from({ length }, (_, n) => (left(n / rate) + right(n / rate)) / 2);
}

/** Signal over noise in dB. */
export function snr(found: Float32Array, wanted: Float32Array): number {
  let [signal, noise] = [0, 0];
  for (const [i, value] of wanted.entries()) {
    signal += value ** 2;
    noise += (found[i]! - value) ** 2;
  }
  return 10 * Math.log10(signal / noise);
}

/** Interleaved 16-bit samples of the tone. */
export function tonePcm(): Int16Array {
  return Int16Array.from({ length: 2 * LENGTH }, (_, i) => {
    const t = (i >> 1) / RATE;
    return Math.round(32_767 * (i & 1 ? right(t) : left(t)));
  });
}

interface WavParts {
  tag: number;
  bits: number;
  channels: number;
  rate: number;
  data: Uint8Array;
  /** Chunks before the samples. */
  before?: Buffer[];
  /** What the header says about the size of the samples. */
  size?: number;
}

export function wav({ tag, bits, channels, rate, data, before = [], size = data.length }: WavParts): Buffer {
  const format = Buffer.alloc(24);
  format.write('fmt ', 'latin1');
  format.writeUInt32LE(16, 4);
  format.writeUInt16LE(tag, 8);
  format.writeUInt16LE(channels, 10);
  format.writeUInt32LE(rate, 12);
  format.writeUInt32LE((rate * channels * bits) / 8, 16);
  format.writeUInt16LE((channels * bits) / 8, 20);
  format.writeUInt16LE(bits, 22);
  const head = Buffer.alloc(8);
  head.write('data', 'latin1');
  head.writeUInt32LE(size, 4);
  return Buffer.concat([Buffer.from('RIFF\0\0\0\0WAVE', 'latin1'), ...before, format, head, data]);
}

/** RF64, the form of WAV beyond 4 GB, of parts that need not be so long. */
export function rf64(parts: WavParts): Buffer {
  const ds64 = Buffer.alloc(36);
  ds64.write('ds64', 'latin1');
  ds64.writeUInt32LE(28, 4);
  ds64.writeBigUInt64LE(BigInt(parts.data.length), 16);
  const file = wav({ ...parts, before: [ds64], size: 0xffff_ffff });
  file.write('RF64', 'latin1');
  return file;
}

/** One frame of FLAC whose samples are all the same: 8 bits, mono, 4096 samples. */
function flatFrame(number: number, level: number): Buffer {
  const head = [0xff, 0xf8, 0xc0, 0x02, ...codedNumber(number)];
  const frame = [...head, crc(head, 8, 0x07), 0x00, level & 0xff];
  const check = crc(frame, 16, 0x8005);
  return Buffer.from([...frame, check >> 8, check & 0xff]);
}

/** A FLAC file of flat frames: level `i % 100` in frame i. @param stated total that the header states */
export function flatFlac(frames: number, rate: number, stated = 4096 * frames): Buffer {
  const info = Buffer.alloc(42);
  info.write('fLaC', 'latin1');
  info.writeUInt8(0x80, 4);
  info.writeUInt8(34, 7);
  info.writeUInt16BE(4096, 8);
  info.writeUInt16BE(4096, 10);
  info.writeBigUInt64BE((BigInt(rate) << 44n) | (7n << 36n) | BigInt(stated), 18);
  return Buffer.concat([info, ...Array.from({ length: frames }, (_, i) => flatFrame(i, i % 100))]);
}

/** A number as FLAC codes it, like UTF-8. */
export function codedNumber(value: number): number[] {
  if (value < 0x80) return [value];
  if (value < 0x800) return [0xc0 | (value >> 6), 0x80 | (value & 63)];
  return [0xe0 | (value >> 12), 0x80 | ((value >> 6) & 63), 0x80 | (value & 63)];
}

/**
 * An Ogg file whose sound is that of another one again and again.
 * @param pages numbers of the pages that are repeated; those before them come first, once
 * @param step samples of one repetition
 * @param serial number of the stream; default: the one it has
 */
export function repeatedOgg(
  bytes: Uint8Array,
  [first, end]: [number, number],
  step: number,
  times: number,
  serial?: number,
): Buffer {
  const pages = pagesOf(bytes);
  const copies = Array.from({ length: times }, (_, k) =>
    pages.slice(first, end).map((page) => {
      const copy = Buffer.from(page);
      copy.writeUInt8(copy[5]! & ~4, 5); // not the end of the stream
      copy.writeBigInt64LE(copy.readBigInt64LE(6) + BigInt(k * step), 6);
      if (serial !== undefined) copy.writeUInt32LE(serial, 14);
      copy.writeUInt32LE(checksum(copy), 22);
      return copy;
    }),
  );
  return Buffer.concat([...pages.slice(0, first), ...copies.flat()]);
}

function pagesOf(bytes: Uint8Array): Uint8Array[] {
  const pages: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const body = at + 27 + bytes[at + 26]!;
    const end = bytes.subarray(at + 27, body).reduce((sum, n) => sum + n, body);
    pages.push(bytes.subarray(at, end));
    at = end;
  }
  return pages;
}

/** The checksums of FLAC, bit by bit. */
export function crc(bytes: Iterable<number>, width: 8 | 16, polynomial: number): number {
  const top = 1 << (width - 1);
  let value = 0;
  for (const byte of bytes) {
    value ^= byte << (width - 8);
    for (let bit = 0; bit < 8; bit++) value = (value << 1) ^ (value & top ? polynomial : 0);
    value &= (1 << width) - 1;
  }
  return value;
}
