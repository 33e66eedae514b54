/** LibriSpeech's archives into shards, with transcripts and speakers. */
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ArchiveError, D2vError, type PrepareContext } from '@d2v/core';
import { type EntrySource, entriesOf } from './sounds/entries.js';
import { letterVocabulary, strangeLetters, writeManifests } from './sounds/fairseq.js';
import { fillShards, type Sound } from './sounds/shards.js';
import { readRows } from './sounds/table.js';

type Context = Pick<PrepareContext<unknown>, 'step' | 'progress' | 'log' | 'warn' | 'signal' | 'folder'>;

const SPEAKERS = 'SPEAKERS.TXT';

/** `<from>/LibriSpeech/<split>` or `<from>/<split>`, whichever is a folder; its parent. */
export async function splitFolder(from: string, name: string): Promise<string | null> {
  for (const folder of [join(from, 'LibriSpeech'), from]) {
    if ((await stat(join(folder, name)).catch(() => null))?.isDirectory()) return folder;
  }
  return null;
}

/** Shards, tables, manifests and speakers of a split. */
export async function prepareSplit(
  ctx: Context,
  split: string,
  source: EntrySource,
  shardBytes?: number,
): Promise<void> {
  const found: { speakers?: string } = {};
  const tables = await fillShards(ctx, {
    key: split,
    groups: () => chapters(ctx, split, source, found),
    shardBytes,
  });
  await ctx.step(`${split}/manifests`, async ({ folder }) => {
    const rows = tables.flatMap((table) => readRows(join(ctx.folder, table)));
    if (rows.length === 0) throw new D2vError(`librispeech: the source of ${split} holds no sounds of it`);
    const strange = strangeLetters(rows);
    if (strange.size > 0) {
      ctx.warn(
        `${split}: transcripts have characters that dict.ltr.txt lacks: ${[...strange.keys()].join(' ')}`,
      );
    }
    await writeManifests(folder, split, rows);
    found.speakers ??= await findSpeakers(ctx, source);
    const speakers = new Set(rows.map(({ speaker }) => speaker!));
    const lines = [...parseSpeakers(found.speakers)].filter(([id]) => speakers.has(id));
    if (lines.length < speakers.size) {
      ctx.warn(`${split}: ${SPEAKERS} lacks ${speakers.size - lines.length} of ${speakers.size} speakers`);
    }
    const table = ['id\tsex\tminutes\tname', ...lines.map((line) => line[1].join('\t'))];
    await writeFile(join(folder, `${split}.speakers.tsv`), `${table.join('\n')}\n`);
    return { speakers: speakers.size, words: rows.reduce((sum, { text = '' }) => sum + countWords(text), 0) };
  });
}

/** `dict.ltr.txt`, the same for every choice of splits. */
export async function writeVocabulary(ctx: Context): Promise<void> {
  await ctx.step('vocabulary', async ({ folder }) => {
    await writeFile(join(folder, 'dict.ltr.txt'), letterVocabulary());
    return {};
  });
}

/** A speaker's reading of a chapter of a book. */
interface Chapter {
  name: string;
  sounds: Sound[];
  /** By the name of the sound. */
  texts: Map<string, string>;
}

/** The sounds of a chapter, which lie together, with its transcripts; in order of their names. */
async function* chapters(
  ctx: Context,
  split: string,
  source: EntrySource,
  found: { speakers?: string },
): AsyncGenerator<Sound[]> {
  const place = new RegExp(
    `^(?:LibriSpeech/)?${split}/(\\d+)/(\\d+)/(\\d+-\\d+(?:-\\d+)?)\\.(flac|trans\\.txt)$`,
  );
  const seen = new Set<string>();
  let chapter = null as Chapter | null;
  for await (const entry of entriesOf(source, ctx, split)) {
    if (entry.name.endsWith(SPEAKERS)) found.speakers = (await entry.read()).toString('utf8');
    const [, speaker, number, id, ending] = place.exec(entry.name) ?? [];
    if (!id) continue;
    const name = `${speaker}-${number}`;
    if (chapter?.name !== name) {
      if (chapter) yield finished(chapter, ctx, split);
      if (seen.has(name)) {
        throw new ArchiveError(nameOf(source), entry.name, 'belongs to a chapter that had ended before');
      }
      seen.add(name);
      chapter = { name, sounds: [], texts: new Map() };
    }
    if (ending === 'flac') {
      chapter.sounds.push({ id, ending, source: entry.path ?? (await entry.read()), speaker });
    } else {
      for (const [utterance, text] of parseTranscripts(await entry.read()))
        chapter.texts.set(utterance, text);
    }
  }
  if (chapter) yield finished(chapter, ctx, split);
}

function finished({ name, sounds, texts }: Chapter, ctx: Context, split: string): Sound[] {
  const without = sounds.filter(({ id }) => !texts.has(id)).length;
  if (without > 0)
    ctx.warn(`${split}: ${without} of ${sounds.length} sounds of chapter ${name} have no transcript`);
  return sounds
    .map((sound) => ({ ...sound, text: texts.get(sound.id) }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** Lines such as `84-121123-0000 GO DO YOU HEAR`. */
function* parseTranscripts(bytes: Buffer): Generator<[string, string]> {
  for (const line of bytes.toString('utf8').split(/\r?\n/)) {
    const space = line.indexOf(' ');
    if (space > 0) yield [line.slice(0, space), line.slice(space + 1).trim()];
  }
}

async function findSpeakers(ctx: Context, source: EntrySource): Promise<string> {
  for await (const entry of entriesOf(source, ctx, SPEAKERS)) {
    if (entry.name.endsWith(SPEAKERS)) return (await entry.read()).toString('utf8');
  }
  ctx.warn(`${nameOf(source)} has no ${SPEAKERS}: names and sexes of speakers are not known`);
  return '';
}

/** Lines such as `84   | F | dev-clean | 8.02 | Christie Nowak`; those of `;` are comments. */
function* parseSpeakers(text: string): Generator<[id: string, columns: string[]]> {
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith(';') || line.trim() === '') continue;
    const [id = '', sex = '', , minutes = '', ...name] = line.split('|').map((part) => part.trim());
    yield [id, [id, sex, minutes, name.join('|')]];
  }
}

const nameOf = (source: EntrySource): string => ('archive' in source ? source.archive : source.folder);
const countWords = (text: string): number => text.split(' ').filter((word) => word !== '').length;
