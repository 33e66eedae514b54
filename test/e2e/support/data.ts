/** A few samples of each modality of this repository. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { imageFolder } from './images.js';
import { waveFile } from './sounds.js';

/** Writes a new folder of data. */
export const DATA: Record<string, (folder: string) => void> = {
  audio(folder) {
    mkdirSync(folder);
    for (let i = 0; i < 4; i++) writeFileSync(join(folder, `${i}.wav`), waveFile(40_000, 200 + 100 * i));
  },
  image: imageFolder,
  text(folder) {
    mkdirSync(folder);
    const line = 'the river flows under the bridge and past the market';
    writeFileSync(join(folder, 'a.txt'), `${line}\n`.repeat(200));
  },
};
