/**
 * How fast one thread makes training samples: `pnpm --filter @d2v/modality-image bench`. CPU time is what the loader takes away from training;
 * wall time is what it can deliver (decoding of files runs beside the thread).
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DataConfig, type DataSource, dataCacheDir, Philox } from '@d2v/core';
import sharp from 'sharp';
import { type ImageDataConfig, imageDataSchema } from '../src/data-config.js';
import { builtIn, openImageData } from '../src/datasets/index.js';

const options = { split: 'train', cacheDir: dataCacheDir(), log: () => {} } as const;
const PARALLEL = 4;

async function measure(title: string, source: DataSource, samples: number) {
  const run = async (count: number) => {
    let next = 0;
    const lane = async () => {
      for (let i = next++; i < count; i = next++)
        await source.get(i % source.length, new Philox(1, i), 'train');
    };
    await Promise.all(Array.from({ length: PARALLEL }, lane));
  };
  await run(Math.ceil(samples / 4));
  const [start, cpu] = [performance.now(), process.cpuUsage()];
  await run(samples);
  const wall = (performance.now() - start) / samples;
  const { user, system } = process.cpuUsage(cpu);
  const busy = (user + system) / 1000 / samples;
  console.log(
    `${title.padEnd(32)} ${(1000 / wall).toFixed(0).padStart(7)} samples/s  ${busy.toFixed(3).padStart(8)} ms CPU each`,
  );
}

const settings = (image: object, more: Partial<DataConfig>) =>
  ({
    ...imageDataSchema.parse(image),
    path: null,
    valid_path: null,
    valid_share: 0,
    ...more,
  }) as ImageDataConfig & DataConfig;

for (const [name, { suggested }] of Object.entries(builtIn)) {
  const data = settings({ input_size: 32, ...suggested }, { dataset: name });
  await measure(`${name} to 32 px`, await openImageData(data, options), 4000);
}

const folder = await mkdtemp(join(tmpdir(), 'd2v-bench-'));
try {
  for (const [width, height] of [
    [500, 375],
    [2000, 1500],
  ] as const) {
    // Smooth noise: about as hard to decode as a photograph.
    const noise = Buffer.from(Uint8Array.from({ length: 3 * 125 * 94 }, (_, i) => (i * 7919) % 251));
    const photo = sharp(noise, { raw: { width: 125, height: 94, channels: 3 } }).resize(width, height, {
      fit: 'fill',
    });
    const file = join(folder, `${width}.jpg`);
    await writeFile(file, await photo.jpeg({ quality: 90 }).toBuffer());
    const data = settings({ input_size: 224 }, { path: file });
    await measure(`JPEG ${width} x ${height} to 224 px`, await openImageData(data, options), 200);
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
