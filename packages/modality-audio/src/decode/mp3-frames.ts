/** The frames of MPEG audio (ISO 11172-3 and 13818-3, and the unofficial 2.5), layers I to III. */
import { tagAt, viewOf } from './bytes.js';

/** What a frame's header says. */
export interface MpegHeader {
  sampleRate: number;
  channels: number;
  layer: 1 | 2 | 3;
  /** Of the whole frame, header included. */
  bytes: number;
  samples: number;
  /** Where a tag that stands for sound would begin (layer III). */
  sideEnd: number;
}

export const HEADER_SIZE = 4;

/** Bitrates in kbit/s by MPEG 1 or 2, layer, and code from 1. */
const BITRATES = {
  1: {
    1: [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    2: [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    3: [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  },
  2: {
    1: [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    2: [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    3: [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
  },
} as const;
const RATES = [44_100, 48_000, 32_000];
/** By the version bits: MPEG 2.5, reserved, 2, 1. */
const RATE_DIVISOR = [4, 0, 2, 1];

/** Reads a header; null if there is none at that place. Free-format frames are not supported. */
export function parseMpegHeader(bytes: Uint8Array, at: number): MpegHeader | null {
  if (at + HEADER_SIZE > bytes.length || bytes[at] !== 0xff) return null;
  const [second, third, fourth] = [bytes[at + 1]!, bytes[at + 2]!, bytes[at + 3]!];
  if (second >> 5 !== 7) return null;
  const divisor = RATE_DIVISOR[(second >> 3) & 3]!;
  const layerCode = (second >> 1) & 3;
  const rateCode = (third >> 2) & 3;
  const bitrateCode = third >> 4;
  if (!divisor || layerCode === 0 || rateCode === 3 || bitrateCode === 0 || bitrateCode === 15) return null;
  const layer = (4 - layerCode) as 1 | 2 | 3;
  const sampleRate = RATES[rateCode]! / divisor;
  const first = divisor === 1;
  const bitrate = BITRATES[first ? 1 : 2][layer][bitrateCode - 1]! * 1000;
  const samples = layer === 1 ? 384 : layer === 3 && !first ? 576 : 1152;
  const slot = layer === 1 ? 4 : 1;
  const padding = (third >> 1) & 1;
  const length = (Math.floor((samples * bitrate) / (8 * sampleRate * slot)) + padding) * slot;
  const channels = fourth >> 6 === 3 ? 1 : 2;
  const side = first ? (channels === 1 ? 17 : 32) : channels === 1 ? 9 : 17;
  // A checksum of two bytes comes before the side information.
  const crc = second & 1 ? 0 : 2;
  return { sampleRate, channels, layer, bytes: length, samples, sideEnd: HEADER_SIZE + crc + side };
}

/** Whether two frames can belong to one stream. */
export function sameStream(a: MpegHeader, b: MpegHeader): boolean {
  return a.sampleRate === b.sampleRate && a.layer === b.layer;
}

/** What encoders write into a first frame that holds no sound. */
export interface EncoderTag {
  /** Frames that follow; null if unknown. */
  frames: number | null;
  /** Samples that the encoder put before and after the sound; null if unknown. */
  delay: number | null;
  padding: number;
}

/** The Xing, Info (LAME) or VBRI tag of a frame; null if the frame is sound. */
export function parseEncoderTag(frame: Uint8Array, header: MpegHeader): EncoderTag | null {
  if (header.layer !== 3 || frame.length < 64) return null;
  const view = viewOf(frame);
  if (tagAt(frame, HEADER_SIZE + 32) === 'VBRI')
    return { frames: view.getUint32(50), delay: null, padding: 0 };
  const at = header.sideEnd;
  const id = tagAt(frame, at);
  if (id !== 'Xing' && id !== 'Info') return null;
  const flags = view.getUint32(at + 4);
  let next = at + 8;
  const frames = flags & 1 ? view.getUint32(next) : null;
  for (const [flag, size] of [
    [1, 4],
    [2, 4],
    [4, 100],
    [8, 4],
  ] as const) {
    if (flags & flag) next += size;
  }
  if (next + 24 > frame.length || !/^(LAME|Lav|Gogo|GOGO)/.test(tagAt(frame, next)))
    return { frames, delay: null, padding: 0 };
  const packed = (frame[next + 21]! << 16) | (frame[next + 22]! << 8) | frame[next + 23]!;
  return { frames, delay: packed >> 12, padding: packed & 0xfff };
}
