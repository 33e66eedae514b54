// A modality with one small dataset, for tests of `d2v data`; it cannot be trained.
import { createHash } from 'node:crypto';
import { defineModality, z } from '@d2v/core';
import { lettersWith } from '@d2v/core/testing';

/** Text that does not compress to nothing. */
function letterOf(split, name, i) {
  const lines = [];
  for (let n = 0; n < 8; n++)
    lines.push(createHash('sha512').update(`${split} ${name} ${i} ${n}`).digest('base64'));
  return Buffer.from(lines.join('\n'));
}

const classes = ['alpha', 'beta', 'gamma', 'delta'];
/** What it publishes, by name; for a server of the tests. */
export const { archives, dataset } = lettersWith({ classes, perClass: 60, letterOf });

const none = () => {
  throw new Error('this modality only has a dataset');
};

export default defineModality({
  name: 'letters',
  api: 1,
  moduleUrl: import.meta.url,
  configSchema: z.strictObject({}),
  dataSchema: z.strictObject({}),
  presets: { tiny: { description: 'none', config: {} } },
  supports: {},
  datasets: { letters: dataset },
  createEncoder: none,
  openData: none,
  openInputs: none,
  collate: none,
});
