/** The suite that every modality runs, on pictures drawn here: stripes of three directions, a class each. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Philox } from '@d2v/core';
import { describeModality } from '@d2v/core/testing';
import sharp from 'sharp';
import { afterAll } from 'vitest';
import image from './index.js';

const SIDE = 16;
const DIRECTIONS = { across: [1, 0], down: [0, 1], aslant: [1, 1] } as const;
const COUNTS = { train: 16, val: 4 } as const;

const folder = await mkdtemp(join(tmpdir(), 'd2v-stripes-'));
afterAll(() => rm(folder, { recursive: true, force: true }));

async function drawStripes(file: string, [dx, dy]: readonly [number, number], rng: Philox): Promise<void> {
  const [frequency, phase] = [rng.uniform(0.4, 1.2), rng.uniform(0, 6)];
  const ink = [rng.uniform(), rng.uniform(), rng.uniform()];
  const pixels = Uint8Array.from({ length: SIDE * SIDE * 3 }, (_, i) => {
    const [x, y] = [Math.floor(i / 3) % SIDE, Math.floor(i / 3 / SIDE)];
    return 127 + 120 * ink[i % 3]! * Math.sin(frequency * (dx * x + dy * y) + phase);
  });
  const raw = { width: SIDE, height: SIDE, channels: 3 } as const;
  await writeFile(file, await sharp(pixels, { raw }).png().toBuffer());
}

for (const [part, count] of Object.entries(COUNTS)) {
  for (const [name, direction] of Object.entries(DIRECTIONS)) {
    await mkdir(join(folder, part, name), { recursive: true });
    for (let i = 0; i < count; i++) {
      await drawStripes(join(folder, part, name, `${i}.png`), direction, new Philox(1).fork(part, name, i));
    }
  }
}

describeModality(image, {
  data: { path: folder },
  inputs: [join(folder, 'val')],
  config: {
    model: {
      modalities: {
        image: {
          input_size: SIDE,
          patch_size: 4,
          embed_dim: 32,
          decoder: { decoder_dim: 32, decoder_groups: 4, decoder_layers: 2 },
        },
      },
    },
  },
});
