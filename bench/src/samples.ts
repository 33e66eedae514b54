/** `samples <folder>`: files to train on, a folder per modality, as the workloads write them to measure loading. */
import { join } from 'node:path';
import { workloads } from './workloads/index.js';

const folder = process.argv[2];
if (!folder) throw new Error('usage: samples <folder>');
for (const [name, { presets }] of Object.entries(workloads))
  await presets[0]!.writeSamples(join(folder, name));
