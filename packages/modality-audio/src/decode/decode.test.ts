import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BadSampleError, Philox } from '@d2v/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeFlac } from './__fixtures__/encode-flac.js';
import {
  fixture,
  fixtureBytes,
  flatFlac,
  LENGTH,
  RATE,
  repeatedOgg,
  rf64,
  snr,
  tone,
  wav,
} from './__fixtures__/tone.js';
import { openAudio, openAudioBytes } from './audio-file.js';
import { type ByteReader, memoryBytes } from './bytes.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'd2v-decode-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const open = (bytes: Uint8Array) => openAudioBytes(memoryBytes(bytes), 'x');
const whole = async (bytes: Uint8Array) => {
  const audio = await open(bytes);
  return audio.read(0, audio.length);
};
const rejection = (bytes: Uint8Array) =>
  whole(bytes).then(
    () => 'accepted',
    (error) => (error instanceof BadSampleError ? error.reason : error),
  );

const LOSSY = { 'tone.mp3': 20, 'tone-plain.mp3': 20, 'tone.ogg': 20, 'tone.opus': 15 } as const;

describe('every format', () => {
  it.each(['tone.flac', ...Object.keys(LOSSY)])(
    '%s: any range is what the whole file has there',
    async (name) => {
      const audio = await openAudio({ path: fixture(name) });
      const all = await audio.read(0, audio.length);
      expect(all.every(Number.isFinite)).toBe(true);
      const rng = new Philox(1).fork(name);
      for (let i = 0; i < 20; i++) {
        const start = rng.int(audio.length - 10);
        const count = 1 + rng.int(audio.length - start);
        const part = await audio.read(start, count);
        // After a jump, Opus only comes near to what it would have given.
        const tolerance = name === 'tone.opus' ? 0.02 : 1e-6;
        expect(part).toHaveLength(count);
        expect(Math.max(...part.map((value, n) => Math.abs(value - all[start + n]!)))).toBeLessThan(
          tolerance,
        );
      }
      await audio.close();
    },
  );

  it('FLAC gives the very samples', async () => {
    const audio = await openAudio({ path: fixture('tone.flac') });
    expect(audio).toMatchObject({ sampleRate: RATE, channels: 2, length: LENGTH });
    expect(snr(await audio.read(0, LENGTH), tone())).toBeGreaterThan(85);
    await audio.close();
  });

  it('FLAC files share decoders, and a damaged one harms no other', async () => {
    const rng = new Philox(1);
    const sounds = [5000, 20_000, 9001].map((length) =>
      Float32Array.from({ length }, () => rng.int(65_536) / 32_768 - 1),
    );
    const files = sounds.map((sound, i) => encodeFlac(sound, i === 2 ? 8000 : 16_000));
    const damaged = Buffer.from(files[1]!);
    damaged.fill(0x77, 12_000, 12_050);
    const plain = await Promise.all(files.map(whole));
    for (const [i, sound] of sounds.entries()) {
      for (const [n, value] of sound.entries()) expect(Math.abs(plain[i]![n]! - value)).toBeLessThan(1e-4);
    }
    for (let round = 0; round < 10; round++) {
      const [bad, ...good] = await Promise.all([rejection(damaged), ...files.map(whole)]);
      expect(bad).toMatch(/damaged/);
      for (const [i, found] of good.entries()) {
        expect(Buffer.compare(Buffer.from(found.buffer), Buffer.from(plain[i]!.buffer))).toBe(0);
      }
    }
  });

  it.each(Object.entries(LOSSY))('%s sounds the same, at the same place', async (name, decibels) => {
    const audio = await openAudio({ path: fixture(name) });
    const rate = name === 'tone.opus' ? 48_000 : RATE;
    expect(audio.sampleRate).toBe(rate);
    const length = 2 * rate;
    // Without a tag, an MP3 file does not say what its encoder put around the sound.
    const delay = name === 'tone-plain.mp3' ? 1105 : 0;
    if (delay === 0) expect(audio.length).toBe(length);
    const found = await audio.read(delay, length);
    expect(snr(found, tone(rate, length))).toBeGreaterThan(decibels);
    await audio.close();
  });

  it('is told by the content, not by the name', async () => {
    const path = join(folder, 'wrong.wav');
    await writeFile(path, fixtureBytes('tone.ogg'));
    const audio = await openAudio({ path });
    expect(audio.length).toBe(LENGTH);
    await audio.close();
  });

  it.each([
    ['tone.flac', /truncated|damaged/],
    ['tone.mp3', /truncated|damaged/],
    ['tone.ogg', /truncated|damaged/],
    ['tone.opus', /truncated|damaged/],
  ])('%s that was cut off is damaged', async (name, reason) => {
    const bytes = fixtureBytes(name);
    for (const share of [0.02, 0.3, 0.9]) {
      expect(await rejection(bytes.subarray(0, Math.floor(bytes.length * share)))).toMatch(reason);
    }
  });

  const silence = { tag: 1, bits: 16, channels: 1, rate: 8000, data: Buffer.alloc(2000) };
  it.each([
    ['WAV', wav(silence)],
    ['RF64', rf64(silence)],
    ['FLAC', flatFlac(100, 8000)],
    ['MP3', fixtureBytes('tone.mp3')],
    ['MP3 without a tag', fixtureBytes('tone-plain.mp3')],
    ['Vorbis', fixtureBytes('tone.ogg')],
    ['Opus', fixtureBytes('short.opus')],
  ] as const)('%s that ends at any byte: sound or a clear error, never a crash', async (_kind, bytes) => {
    for (let end = 1; end < 500; end++) {
      const found = await rejection(bytes.slice(0, end));
      expect(found, `${end} bytes`).toBeTypeOf('string');
    }
  });

  it.each(['tone.flac', 'tone.mp3', 'tone.ogg', 'tone.opus'])(
    '%s with bytes changed: sound or a clear error, never a crash',
    async (name) => {
      const rng = new Philox(2).fork(name);
      for (let i = 0; i < 60; i++) {
        const bytes = fixtureBytes(name);
        const changes = 1 + rng.int(20);
        for (let k = 0; k < changes; k++) bytes[rng.int(i < 30 ? 200 : bytes.length)] = rng.int(256);
        expect(typeof (await rejection(bytes))).toBe('string');
      }
    },
  );
});

describe('files that are no sound', () => {
  it('have a reason each', async () => {
    expect(await rejection(Buffer.from('hello, this is text and no sound at all'))).toMatch(
      /not an audio file/,
    );
    expect(await rejection(Buffer.alloc(5000))).toMatch(/not an audio file/);
    expect(await rejection(Buffer.from('ID3'))).toMatch(/no frames/);
    const empty = join(folder, 'empty.wav');
    await writeFile(empty, '');
    await expect(openAudio({ path: empty })).rejects.toThrow(`${empty}: the file is empty`);
    await expect(openAudio({ path: folder })).rejects.toThrow('is a folder');
    await expect(openAudio({ path: join(folder, 'none.wav') })).rejects.toThrow('does not exist');
  });
});

describe('FLAC', () => {
  // The decoder divides by 127.
  const level = (i: number) => (i % 100) / 127;

  it('finds its way in a long file', async () => {
    const frames = 40_000;
    const audio = await open(flatFlac(frames, 16_000));
    expect(audio.length).toBe(frames * 4096);
    for (const frame of [0, 1, 777, 20_001, 39_998]) {
      const part = await audio.read(frame * 4096 + 4000, 200);
      expect(part[0]).toBeCloseTo(level(frame), 2);
      expect(part[199]).toBeCloseTo(level(frame + 1), 2);
    }
  });

  it('tells its length even if the encoder did not know it', async () => {
    const audio = await open(flatFlac(50, 16_000, 0));
    expect(audio.length).toBe(50 * 4096);
    expect((await audio.read(49 * 4096, 4096))[7]).toBeCloseTo(level(49), 2);
  });

  it('that promises more than it has is truncated', async () => {
    expect(await rejection(flatFlac(50, 16_000, 51 * 4096))).toMatch(/truncated/);
  });
});

describe('MP3', () => {
  it('is found behind a tag of any size, and before one', async () => {
    const tag = Buffer.alloc(10 + 70_000);
    tag.write('ID3\x04\0\0', 'latin1');
    tag.set([0, 4, 0x22, 0x70], 6);
    const tail = Buffer.alloc(128);
    tail.write('TAG', 'latin1');
    const plain = fixtureBytes('tone-plain.mp3');
    const found = await whole(Buffer.concat([tag, plain, tail]));
    expect(found).toEqual(await whole(plain));
  });

  it('of any length is read by jumps', async () => {
    const plain = fixtureBytes('tone-plain.mp3');
    const times = 300;
    const path = join(folder, 'long.mp3');
    await writeFile(path, Buffer.concat(Array.from({ length: times }, () => plain)));
    const [one, audio] = [await whole(plain), await openAudio({ path })];
    expect(audio.length).toBe(times * one.length);
    const part = await audio.read(250 * one.length + 6000, 20_000);
    expect(snr(part, one.subarray(6000, 26_000))).toBeGreaterThan(80);
    await audio.close();
  });
});

describe('Ogg', () => {
  /** Opens an hour of sound, and counts the bytes that a reading takes. */
  async function counted(bytes: Uint8Array) {
    let taken = 0;
    const plain = memoryBytes(bytes);
    const reader: ByteReader = {
      ...plain,
      async read(position, length) {
        const part = await plain.read(position, length);
        taken += part.length;
        return part;
      },
    };
    const audio = await openAudioBytes(reader, 'x');
    expect(audio.length).toBeGreaterThan(3600 * audio.sampleRate);
    const read = async (start: number, count: number) => {
      taken = 0;
      return { part: await audio.read(start, count), taken };
    };
    return { audio, read };
  }
  /** Of a reading; the files are far longer. */
  const MOST = 2 << 20;

  it.each([
    ['short.opus', 24_000],
    ['long.opus', 130_001],
  ])('Opus whose last page ends early is in its place from every start: %s', async (name, length) => {
    const audio = await open(fixtureBytes(name));
    expect(audio.length).toBe(length);
    const wanted = tone(48_000, length);
    const all = await audio.read(0, length);
    expect(snr(all, wanted)).toBeGreaterThan(12);
    for (let start = 0; start + 1500 <= length; start += length / 40) {
      const from = Math.floor(start);
      const part = await audio.read(from, 1500);
      expect(snr(part, all.subarray(from, from + 1500)), `from ${from}`).toBeGreaterThan(30);
    }
    const tail = await audio.read(length - 1500, 1500);
    expect(snr(tail, all.subarray(length - 1500))).toBeGreaterThan(30);
  });

  it('that is a chain of streams is refused, whatever their serial numbers and kinds are', async () => {
    const [vorbis, opus, short] = ['tone.ogg', 'tone.opus', 'short.opus'].map(fixtureBytes);
    const renumbered = repeatedOgg(vorbis!, [0, 3], 0, 1, 1234);
    for (const files of [
      [vorbis!, vorbis!],
      [vorbis!, renumbered],
      [opus!, short!],
      [vorbis!, short!],
      [short!, renumbered, opus!],
    ]) {
      await expect(open(Buffer.concat(files))).rejects.toThrow(/a chain of Ogg streams/);
    }
    expect((await open(renumbered)).length).toBe(LENGTH);
  });

  it('that is a long chain is refused when it is opened, or where it is read', async () => {
    const long = repeatedOgg(fixtureBytes('tone.opus'), [2, 4], 96_000, 100);
    expect(long.length).toBeGreaterThan(1 << 20);
    await expect(open(Buffer.concat([fixtureBytes('tone.ogg'), long]))).rejects.toThrow(
      /a chain of Ogg streams/,
    );
    const same = await open(Buffer.concat([fixtureBytes('tone.opus'), long]));
    await expect(same.read(0, same.length)).rejects.toThrow(/a chain of Ogg streams/);
  });

  it('Opus is read from near the place, not from the start', async () => {
    const plain = fixtureBytes('tone.opus');
    const bytes = repeatedOgg(plain, [2, 4], 96_000, 2000);
    expect(bytes.length).toBeGreaterThan(15 * MOST);
    const { read } = await counted(bytes);
    const one = await whole(plain);
    for (const k of [0, 1, 1000, 1999]) {
      const { part, taken } = await read(96_000 * k + 30_000, 40_000);
      expect(snr(part, one.subarray(30_000, 70_000))).toBeGreaterThan(40);
      expect(taken).toBeLessThan(MOST);
    }
  });

  it('Vorbis is read from near the place, not from the start', async () => {
    const bytes = repeatedOgg(fixtureBytes('tone.ogg'), [2, 3], LENGTH, 6000);
    expect(bytes.length).toBeGreaterThan(10 * MOST);
    const { read } = await counted(bytes);
    const { part: one } = await read(LENGTH * 1000 + 9000, 20_000);
    expect(Math.max(...one)).toBeGreaterThan(0.2);
    for (const k of [10, 3000, 5990]) {
      const { part, taken } = await read(LENGTH * k + 9000, 20_000);
      expect(part).toEqual(one);
      expect(taken).toBeLessThan(MOST);
    }
  });
});
