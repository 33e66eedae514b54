/**
 * How fast archives become shards: `pnpm --filter @d2v/modality-image bench:preparing [images per class]`.
 * An archive of JPEGs about as large as ImageNet's is made, unpacked with `tar x` twice over (the archive, then each class's), and
 * prepared: as it is, and made smaller. Then one thread reads training samples from the shards.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type DataConfig,
  type DataSource,
  downloadDataset,
  mapConcurrent,
  Philox,
  prepareDataset,
} from '@d2v/core';
import sharp from 'sharp';
import { type ImageDataConfig, imageDataSchema } from '../src/data-config.js';
import { makeCifar10 } from '../src/datasets/__fixtures__/cifar.js';
import { makeDevkit, NAMES, WNIDS } from '../src/datasets/__fixtures__/imagenet.js';
import { cifarWith } from '../src/datasets/cifar.js';
import { imagenetWith } from '../src/datasets/imagenet/index.js';
import { openImageData } from '../src/datasets/index.js';

const perClass = Number(process.argv[2] ?? 1000);
const total = WNIDS.length * perClass;
const root = await mkdtemp(join(tmpdir(), 'd2v-bench-'));
const tar = (folder: string, ...args: string[]) => execFileSync('tar', args, { cwd: folder });

/** A photograph of 500 x 375: smooth colours with grain, 100 to 120 KB. */
async function photo(seed: number): Promise<Buffer> {
  const rng = new Philox(seed);
  const pixels = Uint8Array.from({ length: 50 * 38 * 3 }, () => rng.int(256));
  const grain = Uint8Array.from({ length: 500 * 375 * 3 }, () => 80 + rng.int(96));
  const overlay = await sharp(grain, { raw: { width: 500, height: 375, channels: 3 } })
    .png()
    .toBuffer();
  return sharp(pixels, { raw: { width: 50, height: 38, channels: 3 } })
    .resize(500, 375, { fit: 'fill' })
    .composite([{ input: overlay, blend: 'soft-light' }])
    .jpeg({ quality: 90 })
    .toBuffer();
}

async function timed<T>(title: string, megabytes: number, work: () => Promise<T> | T): Promise<T> {
  // What was written before is not to be waited for now.
  execFileSync('sync', ['-f', root]);
  const [start, cpu] = [performance.now(), process.cpuUsage()];
  const result = await work();
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const cores = (user + system) / 1e6 / seconds;
  console.log(
    `${title.padEnd(38)} ${(megabytes / seconds).toFixed(0).padStart(6)} MB/s ${(total / seconds).toFixed(0).padStart(7)} images/s  ${cores.toFixed(1)} cores of this process`,
  );
  return result;
}

/** Training samples in random order, four under way as in a loader thread. */
async function loading(title: string, source: DataSource, count: number): Promise<void> {
  const rng = new Philox(1);
  const order = Array.from({ length: count }, () => rng.int(source.length));
  const start = performance.now();
  let next = 0;
  const lane = async () => {
    for (let i = next++; i < count; i = next++) await source.get(order[i]!, new Philox(1, i), 'train');
  };
  await Promise.all(Array.from({ length: 4 }, lane));
  const rate = (1000 * count) / (performance.now() - start);
  console.log(`loading, ${title.padEnd(29)} ${rate.toFixed(0).padStart(6)} samples/s`);
}

async function loadCifar(cacheDir: string): Promise<void> {
  const archive = makeCifar10();
  const from = join(root, 'cifar');
  await mkdir(from);
  await writeFile(join(from, 'cifar-10-binary.tar.gz'), archive);
  const md5 = createHash('md5').update(archive).digest('hex');
  await prepareDataset(cifarWith('cifar10', { bytes: archive.length, md5 }), {
    cacheDir,
    from,
    offline: true,
  });
  const data = {
    ...imageDataSchema.parse({ input_size: 32 }),
    path: null,
    dataset: 'cifar10',
    dataset_options: {},
  } as unknown as ImageDataConfig & DataConfig;
  const source = await openImageData(data, { split: 'train', cacheDir, offline: true, log: () => {} });
  await loading('cifar10 to 32 px (tiny)', source, 8000);
  await source.close?.();
}

try {
  const from = join(root, 'from');
  await mkdir(from);
  const photos = await Promise.all(Array.from({ length: 50 }, (_, seed) => photo(seed)));
  for (const wnid of WNIDS) {
    const folder = join(root, wnid);
    await mkdir(folder);
    for (let i = 0; i < perClass; i++)
      await writeFile(join(folder, `${wnid}_${i}.JPEG`), photos[i % photos.length]!);
    tar(folder, 'cf', `../${wnid}.tar`, ...(await readdir(folder)));
    await rm(folder, { recursive: true });
  }
  tar(root, 'cf', join(from, NAMES.train), ...WNIDS.map((wnid) => `${wnid}.tar`));
  for (const wnid of WNIDS) await rm(join(root, `${wnid}.tar`));
  const devkit = makeDevkit();
  await writeFile(join(from, NAMES.devkit), devkit);
  const of = (bytes: Buffer) => ({ bytes: bytes.length, md5: createHash('md5').update(bytes).digest('hex') });
  const train = of(await readFile(join(from, NAMES.train)));
  const megabytes = train.bytes / 1e6;
  console.log(`${total} images, ${megabytes.toFixed(0)} MB, ${availableParallelism()} cores`);

  const unpacked = join(root, 'unpacked');
  await mkdir(unpacked);
  const unpack = () => {
    tar(unpacked, 'xf', join(from, NAMES.train));
    for (const wnid of WNIDS) {
      tar(unpacked, 'xf', `${wnid}.tar`);
      execFileSync('rm', [join(unpacked, `${wnid}.tar`)]);
    }
  };
  await timed('tar x, archive and class archives', megabytes, unpack);
  await rm(unpacked, { recursive: true });
  await mkdir(unpacked);
  // The preparation leaves nothing that is not on the disk.
  await timed('the same, and sync', megabytes, () => {
    unpack();
    execFileSync('sync', ['-f', unpacked]);
  });
  await rm(unpacked, { recursive: true });

  const dataset = imagenetWith({ train, devkit: of(devkit), valid: { bytes: 0, md5: '' } });
  const cacheDir = join(root, 'cache');
  const given = { cacheDir, from, offline: true, options: { splits: 'train' } };
  await timed('checksums of the archive (MD5)', megabytes, () => downloadDataset(dataset, given));
  await timed('shards, images as they are', megabytes, () => prepareDataset(dataset, given));
  const smaller = { max_side: 256, splits: 'train' };
  await timed('shards, --max-side 256', megabytes, () =>
    prepareDataset(dataset, { ...given, options: smaller }),
  );

  await timed('sharp alone, of files in memory', megabytes, () =>
    mapConcurrent([...Array(total).keys()], 8, (i) =>
      sharp(photos[i % photos.length])
        .resize({ height: 256, kernel: 'cubic' })
        .jpeg({ quality: 90 })
        .toBuffer(),
    ),
  );

  for (const [title, options, size] of [
    ['whole images to 224 px', { splits: ['train'] }, 224],
    ['images of 256 to 224 px', smaller, 224],
    ['images of 256 to 32 px (tiny)', smaller, 32],
  ] as const) {
    const data = {
      ...imageDataSchema.parse({ input_size: size }),
      path: null,
      dataset: 'imagenet',
      dataset_options: options,
      valid_share: 0.1,
    } as unknown as ImageDataConfig & DataConfig;
    const source = await openImageData(data, { split: 'train', cacheDir, offline: true, log: () => {} });
    await loading(title, source, 600);
    await source.close?.();
  }
  await loadCifar(cacheDir);
} finally {
  await rm(root, { recursive: true, force: true });
}
