/**
 * 568 short sentences, numbers and letters spoken by one voice, 8 kHz: the prompts of the Asterisk telephone exchange, which
 * Debian packages. The class is the folder (digits, letters, phonetic, ...); what is said is in a second package.
 */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { D2vError } from '@d2v/core';
import type { AudioDataset } from './dataset.js';

const FOLDER = '/usr/share/asterisk/sounds/en_US_f_Allison';
const TEXTS = '/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz';
const PACKAGES = 'asterisk-core-sounds-en-wav asterisk-core-sounds-en';

export const prompts: AudioDataset = {
  name: 'prompts',
  description: 'English telephone prompts of one voice, with their text; needs a Debian package',
  license: 'CC-BY-SA-3.0 (Allison Smith)',
  size: '568 prompts, 25 MB installed',
  validShare: 0.2,
  suggested: { min_sample_size: 4800, max_sample_size: 80_000, label: 'top' },

  async folder() {
    if ((await stat(FOLDER).catch(() => null))?.isDirectory()) return FOLDER;
    throw new D2vError(
      `the dataset "prompts" is not in ${FOLDER}: install it (sudo apt-get install ${PACKAGES}), or choose another one`,
    );
  },

  async texts(folder) {
    const compressed = await readFile(TEXTS).catch(() => null);
    return compressed ? parseTexts(gunzipSync(compressed).toString('utf8'), folder) : new Map();
  },
};

/** Lines such as `digits/1: One.`; a semicolon starts a comment. @returns texts by the path of the file */
export function parseTexts(text: string, folder: string): Map<string, string> {
  const texts = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(':');
    if (line.startsWith(';') || colon < 0) continue;
    texts.set(join(folder, `${line.slice(0, colon).trim()}.wav`), line.slice(colon + 1).trim());
  }
  return texts;
}
