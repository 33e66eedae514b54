/** Audio of the user's own: folders, lists, single files, and fairseq's manifests. */
import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import {
  classNames,
  D2vError,
  type DataConfig,
  type DataSource,
  type FileKind,
  findShardParts,
  isHeldOut,
  namedFiles,
  type OpenDataOptions,
  type OpenInputsOptions,
  openLabelledFiles,
} from '@d2v/core';
import { fileLengths, lengthOf, requireReadable } from '../clips/lengths.js';
import { partsToCover, partsToSample } from '../clips/parts.js';
import { type ClipFile, clipSource } from '../clips/source.js';
import type { AudioDataConfig } from '../data-config.js';
import { AUDIO_EXTENSIONS } from '../decode/audio-file.js';
import { findManifests, readManifest } from './manifest.js';
import { partOfShards } from './user-shards.js';

export const AUDIO: FileKind = { noun: 'audio files', extensions: AUDIO_EXTENSIONS };

export type AudioData = AudioDataConfig & DataConfig;
export type OpenOptions = Pick<OpenDataOptions, 'split' | 'cacheDir' | 'log'>;

/** What a dataset knows that a folder does not say. */
export interface KnownFiles {
  name: string;
  license?: string;
  /** What is said in a file, by its path. */
  textOf?(path: string): string | undefined;
}

/**
 * Opens `data.path`.
 * @throws D2vError if there is no audio, none that can be read, or only files shorter than `min_sample_size`
 */
export async function openPath(
  data: AudioData & { path: string },
  options: OpenOptions,
  known?: KnownFiles,
): Promise<DataSource> {
  const { files, classes } = await partOfPath(data, options);
  const texts = known?.textOf ? files.map((file) => ({ ...file, text: known.textOf?.(file.path) })) : files;
  return clipsOf(texts, classes, data, options, { name: data.path, ...known });
}

/** Files of the data, as training and evaluation hear them. @throws D2vError if all are shorter than `min_sample_size` */
export function clipsOf(
  files: readonly ClipFile[],
  classes: readonly string[],
  data: AudioData,
  options: OpenOptions,
  { name, license }: KnownFiles,
): DataSource {
  const long = longEnough(files, data, options);
  return clipSource(long, data, { name, license, classes, parts: partsToSample });
}

/**
 * What the user names (`d2v embed`), in that order: files, folders, manifests and tar shards, all of their sounds. Long ones
 * are cut into parts that cover them.
 * @throws D2vError if none can be read
 */
export async function openNamed(
  paths: readonly string[],
  data: AudioData,
  { cacheDir, log = () => {} }: OpenInputsOptions,
): Promise<DataSource> {
  const parts: Part[] = [];
  for (const path of paths) {
    const named = { ...data, path, valid_path: null };
    parts.push(
      (await partOfLists(named, { split: 'all', cacheDir, log })) ?? (await partOfFiles(path, data)),
    );
  }
  const [first, ...others] = parts;
  if (!first) throw new D2vError(`no ${AUDIO.noun} given: name files, folders, manifests or tar shards`);
  const clips = parts.flatMap(({ files }) => files);
  await requireReadable(clips);
  const classes = others.length === 0 ? first.classes : classNames(clips);
  return clipSource(clips, data, { name: paths.join(', '), classes, parts: partsToCover });
}

async function partOfFiles(path: string, data: AudioData): Promise<Part> {
  const { files, classes } = await namedFiles([path], AUDIO, data.label);
  const clips: ClipFile[] = [];
  for (const file of files) {
    const samples = await lengthOf({ path: file.path }, data.sample_rate);
    clips.push({ path: file.path, className: file.className, samples });
  }
  return { files: clips, classes };
}

/** Sounds of a path, or of a part of it. */
interface Part {
  files: ClipFile[];
  classes: string[];
}

/** Manifests and tar shards, which state the lengths of their sounds; null if the path is something else. */
async function partOfLists(data: AudioData & { path: string }, options: OpenOptions): Promise<Part | null> {
  const manifests = await findManifests(data.path);
  if (manifests) return partOfManifests(manifests, data, options);
  const shards = await findShardParts(data, AUDIO);
  return shards && partOfShards(shards, data, options);
}

async function partOfPath(data: AudioData & { path: string }, options: OpenOptions): Promise<Part> {
  const listed = await partOfLists(data, options);
  if (listed) return listed;
  const { files, classes } = await openLabelledFiles(data, AUDIO, options);
  const key = createHash('sha256')
    .update(`${resolve(data.path)}\0${options.split}`)
    .digest('hex');
  const paths = files.map(({ path }) => path);
  const lengths = await fileLengths(paths, data.sample_rate, { ...options, key });
  const clips = files.map(({ path, className }, i) => ({ path, className, samples: lengths[i]! }));
  await requireReadable(clips);
  return { files: clips, classes };
}

/** Lengths are taken as the manifest states them. */
async function partOfManifests(
  manifests: { train: string; valid: string | null },
  data: AudioData,
  { split, log }: OpenOptions,
): Promise<Part> {
  const training = await readManifest(manifests.train);
  const validPath = data.valid_path ?? manifests.valid;
  const valid = validPath ? await readManifest(validPath) : null;
  const classes = classNames([...training, ...(valid ?? [])]);
  const held = (file: { name: string }) =>
    valid === null && isHeldOut(file.name, data.valid_share) ? 'valid' : 'train';
  const files =
    split === 'all'
      ? [...training, ...(valid ?? [])]
      : split === 'valid' && valid
        ? valid
        : training.filter((file) => held(file) === split);
  log(
    `${files.length} audio files (${split}) from ${split === 'valid' && validPath ? validPath : manifests.train}`,
  );
  if (files.length === 0) {
    throw new D2vError(
      `${manifests.train}: no files in the ${split} part; set data.valid_path or data.valid_share`,
    );
  }
  return { files, classes };
}

/** Leaves out what is known to be too short. */
function longEnough(
  files: readonly ClipFile[],
  { min_sample_size: least, sample_rate: rate }: AudioDataConfig,
  { split, log }: OpenOptions,
): readonly ClipFile[] {
  const long = files.filter(({ samples }) => samples === 0 || samples >= least);
  const seconds = `${(least / rate).toFixed(2)} s (data.min_sample_size: ${least})`;
  if (long.length === 0) {
    throw new D2vError(`all ${files.length} audio files (${split}) are shorter than ${seconds}: lower it`);
  }
  if (long.length < files.length) log(`left out ${files.length - long.length} files shorter than ${seconds}`);
  return long;
}
