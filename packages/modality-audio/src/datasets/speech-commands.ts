/** Speech Commands 0.02: 35 short words spoken by 2618 people, about a second each; the word is the class. */
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  ArchiveError,
  type Checksums,
  defineDataset,
  type ManagedDataset,
  type PrepareContext,
  z,
} from '@d2v/core';
import type { ManagedAudio } from './managed.js';
import { type EntrySource, entriesOf } from './sounds/entries.js';
import { writeManifests } from './sounds/fairseq.js';
import { fillShards, SHARD_COUNTS, type Sound } from './sounds/shards.js';
import { encodeTable, readRows } from './sounds/table.js';

const ARCHIVE = 'speech_commands_v0.02.tar.gz';
const URL = `https://storage.googleapis.com/download.tensorflow.org/data/${ARCHIVE}`;

const WORDS = [
  ...['backward', 'bed', 'bird', 'cat', 'dog', 'down', 'eight', 'five', 'follow', 'forward', 'four', 'go'],
  ...['happy', 'house', 'learn', 'left', 'marvin', 'nine', 'no', 'off', 'on', 'one', 'right', 'seven'],
  ...['sheila', 'six', 'stop', 'three', 'tree', 'two', 'up', 'visual', 'wow', 'yes', 'zero'],
];
const LABELS = new Map(WORDS.map((word, label) => [word, label]));

/** The lists of what is held out. Everything else is for training. */
const LISTS = { valid: 'validation_list.txt', test: 'testing_list.txt' } as const;
const PLACE = /^([a-z]+)\/([^/.]+)\.wav$/;

/** The dataset with another archive than the published one. @param shardBytes about what a shard holds */
export function speechCommandsWith(
  published: { bytes: number; checksums: Checksums },
  shardBytes?: number,
): ManagedDataset<Record<string, never>> {
  return defineDataset({
    name: 'speech-commands',
    version: 1,
    description: '35 spoken words as classes, 16 kHz, a second each (version 0.02)',
    license: 'CC-BY-4.0',
    size: '105 829 words, 2.4 GB download',
    homepage: 'https://arxiv.org/abs/1804.03209',
    terms: `Speech Commands is published under CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/).
Cite: P. Warden: "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", arXiv 1804.03209, 2018.`,
    options: z.strictObject({}),
    internalCounts: SHARD_COUNTS,
    files: async ({ from }) => ((await isTree(from)) ? [] : [{ name: ARCHIVE, urls: [URL], ...published }]),
    inputs: async (from) => ((await isTree(from)) ? [from] : []),
    preparedBytes: () => 1.5 * published.bytes,
    async prepare(ctx) {
      const archive = ctx.files[0]?.path;
      await prepareFrom(ctx, archive === undefined ? { folder: ctx.from! } : { archive }, shardBytes);
    },
  });
}

/** Whether a folder holds the unpacked archive. */
async function isTree(from: string | null): Promise<boolean> {
  if (from === null) return false;
  return (await stat(join(from, LISTS.test)).catch(() => null))?.isFile() === true;
}

async function prepareFrom(
  ctx: PrepareContext<unknown>,
  source: EntrySource,
  shardBytes?: number,
): Promise<void> {
  const lists = new Map<string, string>();
  const tables = await fillShards(ctx, {
    key: 'words',
    groups: () => words(ctx, source, lists),
    shardBytes,
  });
  await ctx.step('parts', async ({ folder }) => {
    const part = await partsBy(ctx, source, lists);
    const rows = tables.flatMap((table) => readRows(join(ctx.folder, table)));
    const counts: Record<string, number> = {};
    for (const name of ['train', 'valid', 'test']) {
      const own = rows.filter(({ id }) => (part.get(`${id}.wav`) ?? 'train') === name);
      await writeFile(join(folder, `${name}.jsonl`), encodeTable(own));
      await writeManifests(folder, name, own);
      counts[`${name}_words`] = own.length;
    }
    await writeFile(join(folder, 'classes.txt'), `${WORDS.join('\n')}\n`);
    return counts;
  });
}

/** Every word by itself; lists are put aside. Noises have no class and are left out. */
async function* words(
  ctx: PrepareContext<unknown>,
  source: EntrySource,
  lists: Map<string, string>,
): AsyncGenerator<Sound[]> {
  for await (const entry of entriesOf(source, ctx, 'words')) {
    if (isList(entry.name)) lists.set(entry.name, (await entry.read()).toString('utf8'));
    const [, word = '', name] = PLACE.exec(entry.name) ?? [];
    const label = LABELS.get(word);
    if (label === undefined) continue;
    const content = entry.path ?? (await entry.read());
    const speaker = name!.split('_')[0];
    yield [
      { id: `${word}/${name}`, ending: 'wav', source: content, className: word, label, speaker, text: word },
    ];
  }
}

/** Part of each held-out file, by its name. */
async function partsBy(
  ctx: PrepareContext<unknown>,
  source: EntrySource,
  lists: Map<string, string>,
): Promise<Map<string, string>> {
  if (lists.size < 2) {
    // The sounds were stored at an earlier time.
    for await (const entry of entriesOf(source, ctx, 'lists')) {
      if (isList(entry.name)) lists.set(entry.name, (await entry.read()).toString('utf8'));
      if (lists.size === 2) break;
    }
  }
  const parts = new Map<string, string>();
  for (const [part, name] of Object.entries(LISTS)) {
    const list = lists.get(name);
    if (list === undefined) {
      const place = 'archive' in source ? source.archive : source.folder;
      throw new ArchiveError(place, null, `it has no ${name}, which says what is held out`);
    }
    for (const line of list.split(/\r?\n/)) if (line.trim() !== '') parts.set(line.trim(), part);
  }
  return parts;
}

const isList = (name: string) => name === LISTS.valid || name === LISTS.test;

/** Size and SHA-256 as TensorFlow Datasets records them; the MD5 and the same SHA-256 are in releases of torchaudio. */
export const speechCommands: ManagedAudio = {
  dataset: speechCommandsWith({
    bytes: 2_428_923_189,
    checksums: {
      md5: '6b74f3901214cb2c2934e98196829835',
      sha256: 'af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58',
    },
  }),
  suggested: { min_sample_size: 4800, max_sample_size: 16_000 },
  parts: (_, part) => ({
    tables: part === 'all' ? ['train.jsonl', 'valid.jsonl', 'test.jsonl'] : [`${part}.jsonl`],
  }),
};
