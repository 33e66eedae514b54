/**
 * Tar shards of the user's own in WebDataset's layout: files of one stem are a sample, such as `a/0001.flac`, `a/0001.txt`.
 * Sounds are read by range inside of the shard. What is said is in `.txt`, or in `.json` as `text`, `transcript` or `sentence`;
 * the class, a number or a name, in `.cls`, or in `.json` as `label`, `cls` or `class`. A file of its own goes before JSON.
 */
import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import {
  type ArchiveEntry,
  ArchiveError,
  BadSampleError,
  classNames,
  compressionOf,
  D2vError,
  isHeldOut,
  makeFolder,
  readTar,
  type ShardPaths,
  writeFileAtomic,
} from '@d2v/core';
import { AUDIO_EXTENSIONS, openAudioBytes } from '../decode/audio-file.js';
import { type BytePart, type ByteReader, openBytes, partOfBytes } from '../decode/bytes.js';
import type { AudioData, OpenOptions } from './files.js';
import { encodeTable, type SoundRow, SoundTable, type TableSound } from './sounds/table.js';

/** Raise it when tables have other contents. */
const VERSION = 1;
const TEXT_KEYS = ['text', 'transcript', 'sentence'];
const CLASS_KEYS = ['label', 'cls', 'class'];
/** Of a text or label. */
const MOST_META = 1 << 20;

/**
 * The sounds of a part of shards; without held-out ones, of a share of `data.valid_share` by name.
 * @throws D2vError if there are none, ArchiveError if a shard is damaged
 */
export async function partOfShards(
  { train, valid }: ShardPaths,
  data: AudioData,
  options: OpenOptions,
): Promise<{ files: TableSound[]; classes: string[] }> {
  const { split, log } = options;
  const count = train.length + (valid?.length ?? 0);
  const trained = await openAll(train, data, options);
  const held = valid && (await openAll(valid, data, options));
  const all = [...trained, ...(held ?? [])];
  const isHeld = (file: TableSound) => isHeldOut(file.row.id, data.valid_share);
  const files =
    split === 'all'
      ? all
      : held
        ? { train: trained, valid: held }[split]
        : trained.filter((file) => isHeld(file) === (split === 'valid'));
  if (files.length === 0) {
    throw new D2vError(
      `${data.path}: of ${all.length} sounds in ${count} shards none falls into the ${split} part; set data.valid_path, or another data.valid_share`,
    );
  }
  const classes = data.label === 'none' ? [] : classNames(all).sort(byNumber);
  log(`${files.length} sounds (${split}) from ${count} shards of ${data.path}`);
  return { files, classes };
}

/** Numbers by their value, before names. */
function byNumber(a: string, b: string): number {
  const [x, y] = [a, b].map((name) => (/^-?\d+$/.test(name) ? Number(name) : Number.POSITIVE_INFINITY));
  if (x !== y) return x! < y! ? -1 : 1;
  return a < b ? -1 : 1;
}

async function openAll(
  shards: readonly string[],
  { sample_rate: rate }: AudioData,
  options: OpenOptions,
): Promise<TableSound[]> {
  const sounds: TableSound[] = [];
  for (const shard of shards) {
    for (const sound of SoundTable.open(await tableOf(shard, options), rate)) sounds.push(sound);
  }
  return sounds;
}

/** The table of a shard, made if it is not in the cache folder or the shard has changed. */
async function tableOf(shard: string, { cacheDir, log }: OpenOptions): Promise<string> {
  const info = await stat(shard).catch(() => null);
  if (!info?.isFile()) throw new D2vError(`${shard}: no such file`);
  const path = resolve(shard);
  const key = createHash('sha256').update(`${VERSION}\0${path}\0${info.size}\0${info.mtimeMs}`).digest('hex');
  const folder = join(cacheDir, 'audio', 'shard-tables');
  const table = join(folder, `${basename(shard)}-${key.slice(0, 16)}.jsonl`);
  if (await stat(table).catch(() => null)) return table;
  log(`looking through ${shard}, once`);
  await makeFolder(folder);
  await writeFileAtomic(table, encodeTable(await soundsOf(path)));
  return table;
}

/** A sample whose files are being gathered. */
interface OpenSample {
  key: string;
  sound: SoundRow | null;
  /** What its other files say. */
  meta: Partial<SoundRow>;
}

/** Samples of a shard; a sound that cannot be read has no length, and is reported when it is asked for. */
async function soundsOf(shard: string): Promise<SoundRow[]> {
  const bytes = await openBytes(shard);
  try {
    if (compressionOf(await bytes.read(0, 6)) !== null) {
      const reason = 'it is compressed, so that no sound can be read by itself: unpack it (gunzip, unxz)';
      throw new ArchiveError(shard, null, reason);
    }
    const rows: SoundRow[] = [];
    let sample = null as OpenSample | null;
    for await (const entry of readTar(shard)) {
      const { key, ending } = splitName(entry.name);
      if (sample?.key !== key) {
        if (sample) rows.push(...finished(sample));
        sample = { key, sound: null, meta: {} };
      }
      if ((AUDIO_EXTENSIONS as readonly string[]).includes(ending)) {
        if (sample.sound) throw new ArchiveError(shard, entry.name, 'is a second sound of its sample');
        const part = { offset: entry.offset, bytes: entry.bytes };
        sample.sound = {
          id: key,
          file: shard,
          part: [part.offset, part.bytes],
          ...(await lengthOf(bytes, part)),
        };
      } else if (ending === 'json') {
        sample.meta = { ...(await metaOf(entry, ending, shard)), ...sample.meta };
      } else Object.assign(sample.meta, await metaOf(entry, ending, shard));
    }
    if (sample) rows.push(...finished(sample));
    return rows;
  } finally {
    await bytes.close();
  }
}

const finished = ({ sound, meta }: OpenSample): SoundRow[] => (sound ? [{ ...sound, ...meta }] : []);

/** Key and ending of a file in a shard: the name is cut at the first dot of its last part. */
function splitName(name: string): { key: string; ending: string } {
  const dot = name.indexOf('.', name.lastIndexOf('/') + 1);
  return dot < 0
    ? { key: name, ending: '' }
    : { key: name.slice(0, dot), ending: name.slice(dot + 1).toLowerCase() };
}

async function lengthOf(shard: ByteReader, part: BytePart): Promise<{ rate: number; samples: number }> {
  try {
    const { sampleRate, length } = await openAudioBytes(partOfBytes(shard, part, ''), '');
    return { rate: sampleRate, samples: length };
  } catch (error) {
    if (error instanceof BadSampleError) return { rate: 0, samples: 0 };
    throw error;
  }
}

async function metaOf(entry: ArchiveEntry, ending: string, shard: string): Promise<Partial<SoundRow>> {
  if (!['txt', 'cls', 'json'].includes(ending)) return {};
  const content = (await entry.read(MOST_META)).toString('utf8').trim();
  if (ending === 'txt') return { text: content.replace(/\s+/g, ' ') };
  if (ending === 'cls') return { class: content };
  let json: unknown;
  try {
    json = JSON.parse(content);
  } catch {
    throw new ArchiveError(shard, entry.name, 'is not valid JSON');
  }
  const value = (keys: readonly string[]) => {
    const found = keys.map((key) => (json as Record<string, unknown> | null)?.[key]);
    return found.find((one) => typeof one === 'string' || typeof one === 'number');
  };
  const [text, className] = [value(TEXT_KEYS), value(CLASS_KEYS)];
  return {
    ...(text !== undefined && { text: String(text) }),
    ...(className !== undefined && { class: String(className) }),
  };
}
