/** Finding the frames of a FLAC stream (RFC 9639): they have no length, so each ends where the next one begins. */
import { viewOf } from './bytes.js';

/** What the STREAMINFO block says. */
export interface StreamInfo {
  minBlock: number;
  sampleRate: number;
  channels: number;
  /** Frames of audio in all, 0 if the encoder did not know. */
  total: number;
  /** Block sizes, rate, channels and depth: frames of streams that agree in them are decoded alike. */
  form: string;
  /** `fLaC` and this block alone, as a decoder wants them before any frame. */
  header: Uint8Array;
}

/** Reads the 34 bytes of a STREAMINFO block. */
export function parseStreamInfo(block: Uint8Array): StreamInfo {
  const view = viewOf(block);
  const header = new Uint8Array(42);
  // The flag says that no other block of metadata follows.
  header.set([0x66, 0x4c, 0x61, 0x43, 0x80, 0, 0, 34]);
  header.set(block, 8);
  const packed = view.getUint32(10);
  return {
    minBlock: view.getUint16(0),
    sampleRate: packed >>> 12,
    channels: ((packed >>> 9) & 7) + 1,
    form: [view.getUint32(0), packed >>> 4].join(),
    total: (view.getUint8(13) & 15) * 2 ** 32 + view.getUint32(14),
    header,
  };
}

/** The start of a frame. */
export interface FrameStart {
  /** Offset in the bytes that were searched. */
  at: number;
  /** Number of its first sample. */
  first: number;
  samples: number;
}

/**
 * Everything in `bytes` that looks like the header of a frame: sync code, valid fields, right checksum. Encoded sound may
 * look so by chance; a true frame is followed by one that continues its count.
 */
export function findFrameStarts(bytes: Uint8Array, info: StreamInfo): FrameStart[] {
  const found: FrameStart[] = [];
  for (let at = bytes.indexOf(0xff); at >= 0; at = bytes.indexOf(0xff, at + 1)) {
    const start = parseFrameHeader(bytes, at, info);
    if (start) found.push(start);
  }
  return found;
}

function parseFrameHeader(bytes: Uint8Array, at: number, info: StreamInfo): FrameStart | null {
  const second = bytes[at + 1];
  if (second !== 0xf8 && second !== 0xf9) return null;
  const variable = second === 0xf9;
  const third = bytes[at + 2]!;
  const fourth = bytes[at + 3]!;
  const [blockCode, rateCode, channelCode, depthCode] = [
    third >> 4,
    third & 15,
    fourth >> 4,
    (fourth >> 1) & 7,
  ];
  if (blockCode === 0 || rateCode === 15 || channelCode > 10 || depthCode === 3 || fourth & 1) return null;
  const channels = channelCode < 8 ? channelCode + 1 : 2;
  if (channels !== info.channels) return null;
  let next = at + 4;
  const coded = readCodedNumber(bytes, next);
  if (!coded) return null;
  next += coded.length;
  let samples = blockCode === 1 ? 192 : blockCode < 6 ? 576 << (blockCode - 2) : 256 << (blockCode - 8);
  if (blockCode === 6) samples = bytes[next++]! + 1;
  else if (blockCode === 7) {
    samples = bytes[next]! * 256 + bytes[next + 1]! + 1;
    next += 2;
  }
  if (rateCode === 12) next += 1;
  else if (rateCode > 12) next += 2;
  if (next >= bytes.length || crc8(bytes, at, next) !== bytes[next]) return null;
  return { at, first: variable ? coded.value : coded.value * info.minBlock, samples };
}

/** A number in the generalised UTF-8 of FLAC: up to 36 bits in 7 bytes. */
function readCodedNumber(bytes: Uint8Array, at: number): { value: number; length: number } | null {
  const lead = bytes[at]!;
  if (lead < 0x80) return { value: lead, length: 1 };
  const length = Math.clz32(~(lead << 24));
  if (length < 2 || length > 7) return null;
  let value = lead & (0x7f >> length);
  for (let i = 1; i < length; i++) {
    const byte = bytes[at + i];
    if (byte === undefined || byte >> 6 !== 2) return null;
    value = value * 64 + (byte & 63);
  }
  return { value, length };
}

const CRC8 = Uint8Array.from({ length: 256 }, (_, n) => {
  let crc = n;
  for (let bit = 0; bit < 8; bit++) crc = ((crc << 1) ^ (crc & 0x80 ? 0x07 : 0)) & 0xff;
  return crc;
});

function crc8(bytes: Uint8Array, from: number, to: number): number {
  let crc = 0;
  for (let i = from; i < to; i++) crc = CRC8[crc ^ bytes[i]!]!;
  return crc;
}
