/**
 * 206 sounds for making music, from the npm package `supersonic-scsynth-samples` (the sounds of Sonic Pi): drums, basses,
 * tablas, loops, textures, each from some hundredths of a second to 15 s.
 */
import type { AudioDataset } from './dataset.js';
import { packageSounds } from './package-sounds.js';

const license = 'CC0-1.0 (Sonic Pi samples; npm package supersonic-scsynth-samples)';

export const instruments: AudioDataset = {
  name: 'instruments',
  description: 'drums, basses, guitars and other sounds (8 classes), loops and noises, 16 kHz',
  license,
  size: '206 sounds, 7 minutes, 34 MB download',
  validShare: 0.3,
  suggested: { min_sample_size: 1600, max_sample_size: 16_000, label: 'top' },
  folder: (options) => packageSounds({ name: 'instruments-2', license, sources: [source] }, options),
};

const source = {
  package: {
    name: 'supersonic-scsynth-samples',
    version: '0.84.2',
    integrity:
      'sha512-XWq1FU3+LQWfnKgf9XGO7Z3SB9Q3H9aFW6ThTjWD0YsThKrJCjyMIO9rMbryXlEe9+UxyvB21SKmJJBXlSZjCw==',
    size: '34 MB',
  },
  place(path: string) {
    const name = /^samples\/(?:.*\/)?([^/]+)\.flac$/.exec(path)?.[1];
    return name && [instrumentOf(name), name].filter(Boolean).join('/');
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
