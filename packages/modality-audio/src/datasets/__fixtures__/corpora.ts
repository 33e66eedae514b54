/** Small copies of published corpora, with their layout and synthetic sound. */
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { Philox } from '@d2v/core';
import { makeTar, type TarFile } from '@d2v/core/testing';
import { encodeFlac } from '../../decode/__fixtures__/encode-flac.js';
import { wav } from '../../decode/__fixtures__/tone.js';

/** Hz */
export const RATE = 16_000;

const PHRASES = ['GO DO YOU HEAR', "DON'T STOP", 'BUT IN LESS THAN FIVE MINUTES', 'A SILVER BRIDGE', 'YES'];

/** A tone whose pitch and length follow from its name. */
export function sound(name: string, seconds = 0.6): Float32Array {
  const rng = new Philox(1).fork(name);
  const [pitch, length] = [rng.uniform(120, 900), Math.round(RATE * rng.uniform(0.7, 1.3) * seconds)];
  return Float32Array.from(
    { length },
    (_, i) => 0.3 * Math.sin((2 * Math.PI * pitch * i) / RATE) + 0.02 * rng.normal(),
  );
}

/** Speakers of each split with their sex; each reads two chapters. */
export const SPEAKERS: Record<string, Record<string, 'F' | 'M'>> = {
  'train-clean-100': { 103: 'F', 1034: 'M', 26: 'M' },
  'dev-clean': { 84: 'F', 174: 'M' },
  'test-clean': { 61: 'M' },
};
const CHAPTERS = ['121123', '121550'];
const PER_CHAPTER = 4;

export const utterances = (split: string): string[] =>
  Object.keys(SPEAKERS[split]!).flatMap((speaker) =>
    CHAPTERS.flatMap((chapter) =>
      Array.from({ length: PER_CHAPTER }, (_, i) => `${speaker}-${chapter}-${String(i).padStart(4, '0')}`),
    ),
  );

export const spoken = (id: string): string => PHRASES[createHash('md5').update(id).digest()[0]! % 5]!;

/** The files of a split's archive, in an order that is not sorted, as published. */
export function librispeechFiles(split: string): TarFile[] {
  const all = Object.entries(SPEAKERS).flatMap(([part, speakers]) =>
    Object.entries(speakers).map(
      ([id, sex]) => `${id.padEnd(5)}| ${sex} | ${part.padEnd(15)}| 8.02  | Reader ${id}`,
    ),
  );
  const files: TarFile[] = [
    { path: 'LibriSpeech/LICENSE.TXT', content: 'CC BY 4.0' },
    {
      path: 'LibriSpeech/SPEAKERS.TXT',
      content: [';ID  |SEX| SUBSET |MINUTES| NAME', ...all, ''].join('\n'),
    },
    { path: `LibriSpeech/${split}/`, type: 'Directory' },
  ];
  for (const speaker of Object.keys(SPEAKERS[split]!)) {
    for (const chapter of CHAPTERS) {
      const folder = `LibriSpeech/${split}/${speaker}/${chapter}`;
      files.push({ path: `${folder}/`, type: 'Directory' });
      const ids = utterances(split).filter((id) => id.startsWith(`${speaker}-${chapter}`));
      for (const id of [...ids].reverse()) {
        files.push({ path: `${folder}/${id}.flac`, content: encodeFlac(sound(id), RATE) });
      }
      const lines = ids.map((id) => `${id} ${spoken(id)}\n`);
      files.push({ path: `${folder}/${speaker}-${chapter}.trans.txt`, content: lines.join('') });
    }
  }
  return files;
}

export const WORDS = ['yes', 'no', 'bed'];
export const PEOPLE = ['0a7c2a8d', '1b4c9b89', '2aca1e72', '3bfd30e6', '4a1e736b', '5c8af87a'];

/** The files of the archive of Speech Commands: the last two people are held out. */
export function speechCommandsFiles(): TarFile[] {
  const name = (word: string, person: string) => `${word}/${person}_nohash_0.wav`;
  const pcm = (samples: Float32Array) => {
    const data = Buffer.from(Int16Array.from(samples, (value) => 32_767 * value).buffer);
    return wav({ tag: 1, bits: 16, channels: 1, rate: RATE, data });
  };
  const list = (person: string) => WORDS.map((word) => `${name(word, person)}\n`).join('');
  return [
    { path: './', type: 'Directory' },
    { path: './validation_list.txt', content: list(PEOPLE[4]!) },
    { path: './_background_noise_/pink_noise.wav', content: pcm(sound('pink', 2)) },
    ...WORDS.flatMap((word) =>
      PEOPLE.map((person) => ({
        path: `./${name(word, person)}`,
        content: pcm(sound(`${word} ${person}`, 0.7)),
      })),
    ),
    { path: './testing_list.txt', content: list(PEOPLE[5]!) },
    { path: './LICENSE', content: 'CC BY 4.0' },
  ];
}

/** Such files as a tar.gz, with what would be published of it. */
export function archiveOf(files: readonly TarFile[]) {
  const content = gzipSync(makeTar(files), { level: 1 });
  const checksums = { md5: createHash('md5').update(content).digest('hex') };
  return { content, bytes: content.length, checksums };
}

/** The archives of LibriSpeech by split. */
export const librispeechArchives = (splits = Object.keys(SPEAKERS)) =>
  Object.fromEntries(
    splits.map((split) => [split, { ...archiveOf(librispeechFiles(split)), description: 'for tests' }]),
  );
