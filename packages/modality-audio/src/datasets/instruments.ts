/**
 * 206 sounds for making music, from the npm package `supersonic-scsynth-samples` (the sounds of Sonic Pi): drums, basses,
 * tablas, loops, textures, each from some hundredths of a second to 15 s. They are decoded once and kept as 16 kHz WAV in the
 * cache folder, a folder per class.
 */
import { mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { D2vError, explainCacheError, type PinnedPackage, readTarball, withPackage } from '@d2v/core';
import { lengthAt, readAt } from '../clips/clip.js';
import { openAudioBytes } from '../decode/audio-file.js';
import { memoryBytes } from '../decode/bytes.js';
import type { AudioDataset } from './dataset.js';
import { encodeWav } from './wav-writer.js';

const RATE = 16_000;
/** Raise it when the preparation gives something else: older folders are then left alone. */
const VERSION = 2;
const FOLDER = 'samples/';

const source: PinnedPackage = {
  name: 'supersonic-scsynth-samples',
  version: '0.84.2',
  integrity:
    'sha512-XWq1FU3+LQWfnKgf9XGO7Z3SB9Q3H9aFW6ThTjWD0YsThKrJCjyMIO9rMbryXlEe9+UxyvB21SKmJJBXlSZjCw==',
  size: '34 MB',
};

export const instruments: AudioDataset = {
  name: 'instruments',
  description: 'sounds of instruments (8 classes), loops and noises, 16 kHz',
  license: 'CC0-1.0 (Sonic Pi samples; npm package supersonic-scsynth-samples)',
  size: '206 sounds, 7 minutes, 34 MB download',
  validShare: 0.3,
  suggested: { min_sample_size: 1600, max_sample_size: 16_000, label: 'top' },

  async folder(options) {
    const folder = join(options.cacheDir, 'audio', `instruments-${VERSION}`);
    try {
      if (!(await isFolder(folder))) {
        await withPackage(source, options, (tarball) => prepare(tarball, folder));
        options.log(`prepared instruments: ${folder} (${instruments.license})`);
      }
    } catch (error) {
      throw explainCacheError(error, options.cacheDir);
    }
    return folder;
  },
};

/**
 * What the beginning of a name says about the instrument; the first line that fits holds. Groups of all sorts (loops,
 * glitches, noises) have no class: they are for training only.
 */
const CLASSES: readonly (readonly [string, RegExp])[] = [
  ['kick', /^(bd_|drum_(heavy_kick|bass)|elec_(soft|hollow)_kick)/],
  ['snare', /^(sn_|drum_snare|elec_(\w+_)?snare)/],
  ['cymbal', /^(hat_|ride_|drum_(cymbal|splash)|elec_cymbal)/],
  ['tom', /^(drum_tom|elec_fuzz_tom)/],
  ['tabla', /^tabla_/],
  ['bass', /^bass_/],
  ['guitar', /^guit_/],
  ['ambient', /^(ambi_|tbd_pad)/],
];

/** The class of a sound by its name, or undefined. */
export function instrumentOf(name: string): string | undefined {
  return CLASSES.find(([, pattern]) => pattern.test(name))?.[0];
}

/** Writes all sounds beside the folder and then gives it its name, so that it is there whole or not at all. */
async function prepare(tarball: string, folder: string): Promise<void> {
  const files = await readTarball(tarball, (path) => path.startsWith(FOLDER) && path.endsWith('.flac'));
  if (files.size === 0) throw new D2vError('instruments: the package has no sounds');
  await mkdir(dirname(folder), { recursive: true });
  const work = await mkdtemp(`${folder}-`);
  try {
    for (const [path, bytes] of files) {
      const name = basename(path, '.flac');
      const group = join(work, instrumentOf(name) ?? '');
      const audio = await openAudioBytes(memoryBytes(bytes), path);
      const samples = await readAt(audio, RATE, 0, lengthAt(audio, RATE));
      await mkdir(group, { recursive: true });
      await writeFile(join(group, `${name}.wav`), encodeWav(samples, RATE));
    }
    await rename(work, folder).catch(async (error) => {
      // Another process was faster.
      if (!(await isFolder(folder))) throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null))?.isDirectory() === true;
}
