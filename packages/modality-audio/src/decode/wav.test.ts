import { BadSampleError } from '@d2v/core';
import { describe, expect, it } from 'vitest';
import { LENGTH, RATE, rf64, snr, tone, tonePcm, wav } from './__fixtures__/tone.js';
import { openAudioBytes } from './audio-file.js';
import { memoryBytes } from './bytes.js';

const open = (bytes: Uint8Array) => openAudioBytes(memoryBytes(bytes), 'x.wav');
const pcm = tonePcm();
const bytesOf = (values: ArrayBufferView) =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
const tone16 = { tag: 1, bits: 16, channels: 2, rate: RATE, data: bytesOf(pcm) };
const reason = (bytes: Uint8Array) =>
  open(bytes)
    .then((audio) => audio.read(0, audio.length))
    .then(
      () => 'accepted',
      (error) => (error instanceof BadSampleError ? error.reason : error),
    );

/** Samples in a smaller or larger integer format. */
function integers(bits: 8 | 24 | 32): Buffer {
  const size = bits / 8;
  const out = Buffer.alloc(pcm.length * size);
  for (const [i, value] of pcm.entries()) {
    if (bits === 8) out.writeUInt8(128 + (value >> 8), i);
    else out.writeIntLE(value * 2 ** (bits - 16), i * size, size);
  }
  return out;
}

/** G.711 by search: the code whose value is nearest. */
function companded(decoded: number[]): Buffer {
  return Buffer.from(
    Array.from(pcm, (value) => {
      let best = 0;
      for (let code = 1; code < 256; code++) {
        if (Math.abs(decoded[code]! - value) < Math.abs(decoded[best]! - value)) best = code;
      }
      return best;
    }),
  );
}

describe('WAV', () => {
  it.each([
    ['8 bits', { ...tone16, bits: 8, data: integers(8) }, 30],
    ['16 bits', tone16, 85],
    ['24 bits', { ...tone16, bits: 24, data: integers(24) }, 85],
    ['32 bits', { ...tone16, bits: 32, data: integers(32) }, 85],
    ['float', { ...tone16, tag: 3, bits: 32, data: bytesOf(Float32Array.from(pcm, (v) => v / 32_768)) }, 85],
    ['double', { ...tone16, tag: 3, bits: 64, data: bytesOf(Float64Array.from(pcm, (v) => v / 32_768)) }, 85],
  ])('of %s', async (_name, parts, decibels) => {
    const audio = await open(wav(parts));
    expect(audio).toMatchObject({ sampleRate: RATE, channels: 2, length: LENGTH });
    expect(snr(await audio.read(0, LENGTH), tone())).toBeGreaterThan(decibels);
    expect(snr(await audio.read(30_000, 100), tone().subarray(30_000, 30_100))).toBeGreaterThan(decibels - 5);
  });

  it('of A-law and mu-law: the values of G.711', async () => {
    const codes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const table = async (tag: number) =>
      (await (await open(wav({ tag, bits: 8, channels: 1, rate: 8000, data: codes }))).read(0, 256)).map(
        (value) => value * 32_768,
      );
    const [alaw, mulaw] = [[...(await table(6))], [...(await table(7))]];
    expect([alaw[0x55], alaw[0xd5], alaw[0x2a], alaw[0xaa]]).toEqual([-8, 8, -32_256, 32_256]);
    expect([mulaw[0], mulaw[0x7f], mulaw[0x80], mulaw[0xff]]).toEqual([-32_124, 0, 32_124, 0]);
    for (const [tag, values] of [
      [6, alaw],
      [7, mulaw],
    ] as const) {
      const audio = await open(wav({ ...tone16, tag, bits: 8, data: companded(values) }));
      expect(snr(await audio.read(0, LENGTH), tone())).toBeGreaterThan(35);
    }
  });

  it('with other chunks before, of unknown size, and beyond 4 GB', async () => {
    const list = Buffer.from('LIST\x03\0\0\0abc\0', 'latin1');
    expect((await open(wav({ ...tone16, before: [list] }))).length).toBe(LENGTH);
    expect((await open(wav({ ...tone16, size: 0xffff_ffff }))).length).toBe(LENGTH);
    expect((await open(rf64(tone16))).length).toBe(LENGTH);
  });

  it('that is wrong has a reason', async () => {
    const good = wav(tone16);
    expect(await reason(good.subarray(0, 10_000))).toMatch(/truncated: \d+ of \d+ bytes/);
    expect(await reason(good.subarray(0, 40))).toMatch(/truncated or damaged/);
    expect(await reason(rf64(tone16).subarray(0, 30))).toMatch(/its sizes are cut off/);
    expect(await reason(wav({ ...tone16, tag: 2 }))).toMatch(/unsupported kind \(format 2, 16 bits/);
    expect(await reason(wav({ ...tone16, channels: 0 }))).toMatch(/0 channels/);
    expect(await reason(wav({ ...tone16, rate: 7 }))).toMatch(/7 Hz is out of range/);
    expect(await reason(wav({ ...tone16, data: Buffer.alloc(0) }))).toBe('holds no sound');
  });
});
