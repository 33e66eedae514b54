/** Samples as WAV files store them, to mono float32 from -1 to 1. */
import { viewOf } from './bytes.js';

/** How one sample is stored. */
export type PcmEncoding = 'u8' | 's16' | 's24' | 's32' | 'f32' | 'f64' | 'alaw' | 'mulaw';

export const BYTES_PER_SAMPLE: Record<PcmEncoding, number> = {
  u8: 1,
  s16: 2,
  s24: 3,
  s32: 4,
  f32: 4,
  f64: 8,
  alaw: 1,
  mulaw: 1,
};

/** Values of the 256 codes of G.711, from -1 to 1. */
const ALAW = Float32Array.from({ length: 256 }, (_, code) => alaw(code));
const MULAW = Float32Array.from({ length: 256 }, (_, code) => mulaw(code));

/**
 * The mean of the channels, frame by frame.
 * @param bytes whole frames of interleaved samples
 */
export function mixPcm(bytes: Uint8Array, encoding: PcmEncoding, channels: number): Float32Array {
  const sample = reader(bytes, encoding);
  const frames = bytes.length / (BYTES_PER_SAMPLE[encoding] * channels);
  const out = new Float32Array(frames);
  for (let i = 0, at = 0; i < frames; i++) {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += sample(at++);
    out[i] = sum / channels;
  }
  return out;
}

function reader(bytes: Uint8Array, encoding: PcmEncoding): (index: number) => number {
  const view = viewOf(bytes);
  switch (encoding) {
    case 'u8':
      return (i) => (bytes[i]! - 128) / 128;
    case 's16':
      return (i) => view.getInt16(2 * i, true) / 32_768;
    case 's24':
      return (i) => (view.getUint16(3 * i, true) + (view.getInt8(3 * i + 2) << 16)) / 8_388_608;
    case 's32':
      return (i) => view.getInt32(4 * i, true) / 2_147_483_648;
    case 'f32':
      return (i) => view.getFloat32(4 * i, true);
    case 'f64':
      return (i) => view.getFloat64(8 * i, true);
    case 'alaw':
      return (i) => ALAW[bytes[i]!]!;
    case 'mulaw':
      return (i) => MULAW[bytes[i]!]!;
    default:
      return encoding satisfies never;
  }
}

/** G.711 A-law: every second bit inverted; sign, three bits of exponent, four of mantissa. */
function alaw(code: number): number {
  const bits = code ^ 0x55;
  const exponent = (bits >> 4) & 7;
  const mantissa = ((bits & 15) << 4) + 8;
  const size = exponent === 0 ? mantissa : (mantissa + 256) << (exponent - 1);
  return ((bits & 0x80 ? 1 : -1) * size) / 32_768;
}

/** G.711 mu-law: all bits inverted; a bias of 132 makes the steps logarithmic. */
function mulaw(code: number): number {
  const bits = ~code & 0xff;
  const size = ((((bits & 15) << 3) + 132) << ((bits >> 4) & 7)) - 132;
  return ((bits & 0x80 ? -1 : 1) * size) / 32_768;
}
