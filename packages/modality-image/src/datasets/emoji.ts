/**
 * Google's emoji, from the npm package `emoji-datasource-google`: 64 x 64 pixels, in the 9 categories of the Unicode
 * charts. Skin-tone variants are left out: they are near-copies of their base picture, so they would put almost the
 * same picture on both sides of the split. So are the five skin-tone swatches, which have no category of their own.
 * Transparent parts are composed on white.
 */
import { D2vError } from '@d2v/core';
import { decodeWhole, openImageBytes } from '../decode.js';
import type { PreparedDataset, PreparedImage } from './prepared.js';

const SIDE = 64;
const FOLDER = `img/google/${SIDE}/`;
const CLASSES = [
  'Activities',
  'Animals & Nature',
  'Flags',
  'Food & Drink',
  'Objects',
  'People & Body',
  'Smileys & Emotion',
  'Symbols',
  'Travel & Places',
];

/** The fields of `emoji.json` that matter here. */
interface Entry {
  image: string;
  short_name: string;
  category: string;
  has_img_google: boolean;
}

export const emoji: PreparedDataset = {
  name: 'emoji',
  version: 1,
  description: 'Google emoji in colour, 64 x 64, 9 categories',
  license: 'images: Apache-2.0 (Noto Emoji, Google); npm package emoji-datasource-google: MIT',
  size: '1906 images, 71 MB download',
  source: {
    name: 'emoji-datasource-google',
    version: '16.0.0',
    integrity:
      'sha512-ZRexfzs7MVoLnmzZmNsO4TKhnAJp5D++Vm6PpUpH/jEQQlemp3l88CjZ+DoZ2faM9R4QxZkOPJCoT8DlPhfQ3A==',
    size: '71 MB',
  },
  classes: CLASSES,
  suggested: {
    crop_scale: [0.4, 1],
    // The drawings reach the border.
    crop_pct: 1,
    mean: [0.82, 0.77, 0.71],
    std: [0.28, 0.28, 0.35],
  },
  wants: (path) => path === 'emoji.json' || (path.startsWith(FOLDER) && path.endsWith('.png')),

  async prepare(files) {
    const entries = JSON.parse(files.get('emoji.json')?.toString('utf8') ?? '[]') as Entry[];
    const used = entries.filter((entry) => entry.has_img_google && CLASSES.includes(entry.category));
    if (used.length === 0) throw new D2vError('emoji: the package lists no pictures');
    const images: PreparedImage[] = [];
    for (const entry of used) {
      const bytes = files.get(FOLDER + entry.image);
      if (!bytes) throw new D2vError(`emoji: the package has no picture ${entry.image}`);
      const limits = { max_pixels: 4 * SIDE * SIDE, fail_on: 'warning' } as const;
      const image = await decodeWhole(await openImageBytes(entry.image, bytes, limits), limits);
      if (image.width !== SIDE || image.height !== SIDE)
        throw new D2vError(`emoji: ${entry.image} is not ${SIDE} px`);
      images.push({ image, label: CLASSES.indexOf(entry.category), name: entry.short_name });
    }
    return images;
  },
};
