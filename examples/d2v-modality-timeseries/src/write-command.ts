/** `d2v waveforms write`: a command of the plugin's own, listed under `d2v.commands` in package.json. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { D2vError, type ModalityCommand } from '@d2v/core';
import { WAVEFORM_COUNTS, WAVEFORMS, waveform } from './waveforms.js';

export const writeCommand: ModalityCommand = {
  name: 'waveforms write',
  description: 'write generated series as CSV files, a folder per class',
  arguments: [{ name: 'folder', description: 'made if needed' }],
  options: [{ flags: '--count <n>', description: 'number of series', default: '60' }],
  examples: ['waveforms write series/ --count 600', 'train timeseries --data series/'],
  async run({ folder }, options, { print }) {
    const count = Number(options.count);
    if (!Number.isInteger(count) || count < 1 || count > WAVEFORM_COUNTS.train) {
      throw new D2vError(
        `--count ${options.count}: it must be a whole number from 1 to ${WAVEFORM_COUNTS.train}`,
      );
    }
    for (let i = 0; i < count; i++) {
      const into = join(String(folder), WAVEFORMS[i % WAVEFORMS.length]!.replace(' ', '-'));
      await mkdir(into, { recursive: true });
      await writeFile(join(into, `${i}.csv`), `${[...waveform('train', i)].join('\n')}\n`);
    }
    print(`${count} series: ${folder}`);
  },
};
