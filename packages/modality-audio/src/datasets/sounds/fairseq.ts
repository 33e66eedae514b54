/**
 * Prepared sounds as fairseq's manifests, so that other programs can use them: `<name>.tsv` with a place and a length in samples
 * per line, and beside it, line by line, `.wrd` (words), `.ltr` (letters), `.spk` (speakers) and `.lbl` (classes), as far as
 * they are known. A place in a shard is written as fairseq does for archives: `shard.tar:offset:bytes`.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SoundRow } from './table.js';

/**
 * Letters of LibriSpeech's transcripts, `|` between words, in the order of fairseq's published `dict.ltr.txt`, which models
 * fine-tuned there have in their last layer.
 */
export const LETTERS = "|ETAONIHSRDLUMWCFGYPBVK'XJQZ";

/** `AN APPLE` as `A N | A P P L E |`. */
export const spell = (words: string): string =>
  words
    .split(/\s+/)
    .filter((word) => word !== '')
    .map((word) => `${[...word].join(' ')} |`)
    .join(' ');

/** A vocabulary: a letter and a number per line. The number is a count, which nothing reads. */
export const letterVocabulary = (): string => [...LETTERS].map((letter) => `${letter} 1\n`).join('');

/** Characters that are no letters of the vocabulary, with how often they occur. */
export function strangeLetters(rows: readonly SoundRow[]): Map<string, number> {
  const strange = new Map<string, number>();
  for (const { text = '' } of rows) {
    for (const letter of text.replaceAll(' ', '')) {
      if (letter === '|' || !LETTERS.includes(letter)) strange.set(letter, (strange.get(letter) ?? 0) + 1);
    }
  }
  return strange;
}

/** Writes the manifests of rows whose files are named relative to the folder they will lie in, or absolutely. */
export async function writeManifests(folder: string, name: string, rows: readonly SoundRow[]): Promise<void> {
  const put = (ending: string, lines: readonly string[]) =>
    writeFile(join(folder, `${name}.${ending}`), lines.map((line) => `${line}\n`).join(''), { flag: 'wx' });
  const place = ({ file, part }: SoundRow) => (part ? `${file}:${part[0]}:${part[1]}` : file);
  await put('tsv', ['.', ...rows.map((row) => `${place(row)}\t${row.samples}`)]);
  if (rows.some(({ text }) => text !== undefined)) {
    await put(
      'wrd',
      rows.map(({ text = '' }) => text),
    );
    await put(
      'ltr',
      rows.map(({ text = '' }) => spell(text)),
    );
  }
  if (rows.some(({ speaker }) => speaker !== undefined)) {
    await put(
      'spk',
      rows.map(({ speaker = '' }) => speaker),
    );
  }
  if (rows.some((row) => row.class !== undefined)) {
    await put(
      'lbl',
      rows.map((row) => row.class ?? ''),
    );
  }
}
