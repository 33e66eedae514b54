/** The suite that every modality runs, on sounds made here: tones of three kinds, a class each, of many lengths. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Philox } from '@d2v/core';
import { describeModality } from '@d2v/core/testing';
import { afterAll } from 'vitest';
import { encodeWav } from './datasets/wav-writer.js';
import audio from './index.js';

const RATE = 8000;
const KINDS = {
  low: (t: number) => Math.sin(2 * Math.PI * 300 * t),
  high: (t: number) => Math.sin(2 * Math.PI * 1700 * t),
  beating: (t: number) => Math.sin(2 * Math.PI * 700 * t) * Math.sin(2 * Math.PI * 9 * t),
} as const;
const COUNTS = { train: 12, val: 4 } as const;

const folder = await mkdtemp(join(tmpdir(), 'd2v-tones-'));
afterAll(() => rm(folder, { recursive: true, force: true }));

for (const [part, count] of Object.entries(COUNTS)) {
  for (const [name, tone] of Object.entries(KINDS)) {
    await mkdir(join(folder, part, name), { recursive: true });
    for (let i = 0; i < count; i++) {
      const rng = new Philox(1).fork(part, name, i);
      const [pitch, loudness, length] = [
        rng.uniform(0.8, 1.2),
        rng.uniform(0.1, 0.9),
        rng.uniform(0.35, 0.6),
      ];
      const samples = Float32Array.from(
        { length: RATE * length },
        (_, n) => loudness * tone((pitch * n) / RATE) + 0.05 * rng.normal(),
      );
      await writeFile(join(folder, part, name, `${i}.wav`), encodeWav(samples, RATE));
    }
  }
}

describeModality(audio, {
  data: { path: folder, min_sample_size: 4000, max_sample_size: 8000 },
  inputs: [join(folder, 'val')],
  config: {
    model: {
      modalities: {
        audio: {
          feature_encoder_spec: '[(16, 10, 5)] + [(16, 3, 2)] * 4 + [(32, 2, 2)]',
          conv_pos_groups: 4,
          conv_pos_depth: 2,
          conv_pos_width: 18,
          decoder: { decoder_dim: 32, decoder_groups: 4, decoder_layers: 2 },
        },
      },
    },
  },
});
