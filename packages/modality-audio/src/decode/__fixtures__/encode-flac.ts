/** A FLAC encoder for tests (RFC 9639): samples are stored as they are, mono, 16 bits. */
import { createHash } from 'node:crypto';
import { codedNumber, crc } from './tone.js';

const BLOCK = 4096;

/** Mono sound from -1 to 1 as a FLAC file. */
export function encodeFlac(samples: Float32Array, sampleRate = 16_000): Buffer {
  const pcm = Int16Array.from(samples, (value) =>
    Math.max(-32_768, Math.min(32_767, Math.round(value * 32_768))),
  );
  const frames: Buffer[] = [];
  for (let start = 0; start < pcm.length; start += BLOCK) {
    frames.push(frame(pcm.subarray(start, start + BLOCK), frames.length));
  }
  return Buffer.concat([Buffer.from('fLaC'), streamInfo(pcm, sampleRate, frames), ...frames]);
}

function streamInfo(pcm: Int16Array, sampleRate: number, frames: readonly Buffer[]): Buffer {
  const block = Buffer.alloc(4 + 34);
  // The last block of metadata, of kind 0, 34 bytes.
  block.writeUInt32BE(0x8000_0022, 0);
  block.writeUInt16BE(BLOCK, 4);
  block.writeUInt16BE(BLOCK, 6);
  const sizes = frames.map(({ length }) => length);
  block.writeUIntBE(Math.min(...sizes), 8, 3);
  block.writeUIntBE(Math.max(...sizes), 11, 3);
  // 20 bits of rate, 3 of channels - 1, 5 of bits - 1, 36 of length.
  block.writeUInt32BE(((sampleRate << 12) | (15 << 4)) >>> 0, 14);
  block.writeUInt32BE(pcm.length, 18);
  const bytes = Buffer.from(pcm.buffer, pcm.byteOffset, pcm.byteLength);
  createHash('md5').update(bytes).digest().copy(block, 22);
  return block;
}

/** Block size in 16 bits at the end of the header, rate of STREAMINFO, one channel, 16 bits, one verbatim subframe. */
function frame(pcm: Int16Array, number: number): Buffer {
  const head = Buffer.from([0xff, 0xf8, 0x70, 0x08, ...codedNumber(number), 0, 0]);
  head.writeUInt16BE(pcm.length - 1, head.length - 2);
  const body = Buffer.alloc(1 + 2 * pcm.length);
  body[0] = 0x02;
  for (const [i, value] of pcm.entries()) body.writeInt16BE(value, 1 + 2 * i);
  const bytes = Buffer.concat([head, Buffer.from([crc(head, 8, 0x07)]), body]);
  const end = Buffer.alloc(2);
  end.writeUInt16BE(crc(bytes, 16, 0x8005));
  return Buffer.concat([bytes, end]);
}
