/**
 * Text as token shards in the cache folder. The folder's name is a hash of everything that its content follows from, so
 * another text, tokenizer or setting gives another folder; it is written under another name and renamed when whole, so that
 * any number of processes can prepare the same text at once.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  D2vError,
  explainCacheError,
  makeFolder,
  type OpenDataOptions,
  removeStale,
  syncFolder,
  writeFileAtomic,
} from '@d2v/core';
import type { TextFile } from '../corpus/files.js';
import { type CorpusOptions, readCorpus } from '../corpus/read.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { META, parseMeta, SHARD_VERSION, type ShardMeta } from './format.js';
import { PartWriter } from './part-writer.js';
import { UnitSplitter } from './units.js';

/** Text that is to be prepared. */
export interface Corpus {
  /** For messages. */
  name: string;
  files: readonly TextFile[];
  /** Held-out files; null: `validShare` of `files` is held out. */
  validFiles: readonly TextFile[] | null;
  validShare: number;
  /** Most damaged files as a share of all. */
  maxBadShare: number;
  options: CorpusOptions;
}

/** A folder of prepared text. */
export interface Prepared {
  folder: string;
  meta: ShardMeta;
  /** Where lists of blocks are kept; default: `folder`. */
  blocksFolder?: string;
}

/** What a text and the way it is read are known by. */
export function corpusKey(corpus: Corpus): unknown {
  const stamp = ({ name, bytes, changed, path }: TextFile) => [name, bytes, String(changed), path];
  const { files, validFiles, validShare, options } = corpus;
  const { item, field, pair_field, label_field, label } = options;
  const share = validFiles ? null : validShare;
  return [
    files.map(stamp),
    validFiles?.map(stamp) ?? null,
    share,
    item,
    field,
    pair_field,
    label_field,
    label,
  ];
}

/** A short hash of any JSON value. */
export function hashOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 24);
}

/** A short hash of a tokenizer's files. */
function tokenizerKey({ files }: Tokenizer): string[] {
  const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
  return Object.keys(files)
    .sort()
    .map((name) => `${name}:${digest(files[name]!)}`);
}

/**
 * Opens the prepared text of a corpus, preparing it first if need be.
 * @throws D2vError if it holds no text or cannot be written
 */
export async function prepare(
  corpus: Corpus,
  tokenizer: Tokenizer,
  { cacheDir, log }: Pick<OpenDataOptions, 'cacheDir' | 'log'>,
): Promise<Prepared> {
  const root = join(cacheDir, 'text');
  const key = hashOf([SHARD_VERSION, corpusKey(corpus), tokenizerKey(tokenizer)]);
  const folder = join(root, key);
  try {
    const ready = await readPrepared(folder);
    if (ready) return ready;
    await makeFolder(root);
    await removeStale(root, (name) => name.includes('.tmp-'));
    const temporary = `${folder}.tmp-${process.pid}-${Math.random().toString(36).slice(2, 10)}`;
    await mkdir(temporary);
    try {
      await write(corpus, tokenizer, temporary, log);
      await publish(temporary, folder);
    } finally {
      await rm(temporary, { recursive: true, force: true, maxRetries: 3 });
    }
  } catch (error) {
    throw explainCacheError(error, cacheDir);
  }
  const made = await readPrepared(folder);
  if (!made) throw new D2vError(`${folder} was removed while it was being opened: try again`);
  return made;
}

/** What is prepared in a folder; null if there is nothing. @throws D2vError if it cannot be understood */
export async function readPrepared(folder: string): Promise<Prepared | null> {
  const path = join(folder, META);
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  return text === null ? null : { folder, meta: parseMeta(text, path) };
}

/** Gives a folder its final name, unless another process was first. */
async function publish(temporary: string, folder: string): Promise<void> {
  await syncFolder(temporary);
  try {
    await rename(temporary, folder);
  } catch (error) {
    if (!(await readPrepared(folder))) throw error;
  }
}

async function write(
  corpus: Corpus,
  tokenizer: Tokenizer,
  folder: string,
  log: (message: string) => void,
): Promise<void> {
  const { files, validFiles, validShare, options, name } = corpus;
  const all = [...files, ...(validFiles ?? [])];
  const bytes = all.reduce((sum, file) => sum + file.bytes, 0);
  if (bytes > 32 << 20) log(`preparing ${Math.round(bytes / 2 ** 20)} MB of text, once`);
  const width = tokenizer.vocabSize <= 2 ** 16 ? 2 : 4;
  const classes = new Map<string, number>();
  const label = (className: string | null) => {
    if (className === null) return -1;
    if (!classes.has(className)) classes.set(className, classes.size);
    return classes.get(className)!;
  };
  const train = new PartWriter(folder, 'train', width);
  const valid = new PartWriter(folder, 'valid', width);
  const damaged: ShardMeta['damaged'] = [];
  try {
    for (const [part, offset, share] of [
      [files, 0, validFiles ? 0 : validShare],
      [validFiles ?? [], files.length, 1],
    ] as const) {
      const separated = (file: number) => !all[file]!.jsonl;
      const splitter = new UnitSplitter({ tokenizer, share, label, separated, train, valid });
      const report = await readCorpus(part, options, {
        log,
        onPiece: (piece) => splitter.add({ ...piece, file: piece.file + offset }),
      });
      splitter.end();
      damaged.push(...report.damaged);
    }
    train.finish();
    valid.finish();
  } catch (error) {
    train.abandon();
    valid.abandon();
    throw error;
  }
  checkDamage(damaged, all.length, corpus.maxBadShare);
  if (train.tokens + valid.tokens === 0) throw new D2vError(`${name}: there is no text in it`);
  const meta: ShardMeta = {
    version: SHARD_VERSION,
    width,
    parts: {
      train: { tokens: train.tokens, items: train.items },
      valid: { tokens: valid.tokens, items: valid.items },
    },
    files: all.map((file) => file.name),
    classes: [...classes.keys()],
    damaged,
  };
  await writeFileAtomic(join(folder, META), JSON.stringify(meta));
  log(`prepared ${name}: ${train.tokens + valid.tokens} tokens, ${valid.tokens} of them held out`);
}

function checkDamage(damaged: ShardMeta['damaged'], files: number, most: number): void {
  if (damaged.length <= most * files) return;
  throw new D2vError(
    `${damaged.length} of ${files} files are damaged, which is more than data.max_bad_share: ${damaged[0]!.reason}`,
  );
}
