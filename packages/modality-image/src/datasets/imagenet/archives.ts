/**
 * The official archives. Training: a tar of one tar per class, each class a step and a shard; the tar inside is read where it
 * lies, nothing is unpacked. Validation: a flat tar, in shards of 1000 images, with classes from the development kit.
 */
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename } from 'node:path';
import { ArchiveError, type ArchiveLimits, mapConcurrent, type PrepareContext, readTar } from '@d2v/core';
import { writeClasses } from './classes.js';
import type { Devkit } from './devkit.js';
import { type PictureOptions, type SourcePicture, writePictures } from './pictures.js';
import { SplitProgress } from './progress.js';

type Context = PrepareContext<PictureOptions>;

/** Far above what is in them: the largest class has 1300 images, the largest image 20 MB. */
const CLASS_LIMITS: ArchiveLimits = { entries: 100_000, entryBytes: 256 << 20, totalBytes: 2 ** 36 };
const IMAGES_PER_SHARD = 1000;

/** Where an entry's content lies in a plain archive. */
interface Place {
  name: string;
  offset: number;
  bytes: number;
}

async function placesIn(archive: string, signal: AbortSignal): Promise<Place[]> {
  const places: Place[] = [];
  for await (const { name, offset, bytes } of readTar(archive, { signal }))
    places.push({ name, offset, bytes });
  return places;
}

/** @throws ArchiveError if classes are missing, or the archive holds something else */
export async function prepareTrainArchive(ctx: Context, archive: string, { wnids }: Devkit): Promise<void> {
  const places = new Map<string, Place>();
  for (const place of await placesIn(archive, ctx.signal)) {
    const [, wnid = ''] = /([^/]*)\.tar$/.exec(place.name) ?? [];
    if (!wnids.includes(wnid))
      throw new ArchiveError(archive, place.name, 'is not the archive of a class of the development kit');
    places.set(wnid, place);
  }
  const missing = wnids.find((wnid) => !places.has(wnid));
  if (missing !== undefined) throw new ArchiveError(archive, `${missing}.tar`, 'is missing');
  const total = wnids.reduce((sum, wnid) => sum + places.get(wnid)!.bytes, 0);
  const progress = new SplitProgress(ctx, 'train', total, 'bytes');
  await mapConcurrent(wnids, ctx.threads, (wnid, label) => {
    const place = places.get(wnid)!;
    return progress.step(place.bytes, (advance) =>
      ctx.step(`train/${wnid}`, (output) =>
        writePictures(ctx, output, `train-${wnid}`, imagesOfClass(ctx, archive, place, label), ({ bytes }) =>
          advance(bytes.length),
        ),
      ),
    );
  });
  await ctx.step('train/classes', async (output) => {
    await writeClasses(output, 'train', wnids);
    return {};
  });
}

async function* imagesOfClass(
  { signal }: Context,
  archive: string,
  place: Place,
  label: number,
): AsyncGenerator<SourcePicture> {
  const { offset, bytes, name: inner } = place;
  if (bytes === 0) return;
  const stream = createReadStream(archive, {
    start: offset,
    end: offset + bytes - 1,
    highWaterMark: 1 << 20,
  });
  const limits = { ...CLASS_LIMITS, archive: `${basename(archive)}: ${inner}`, signal };
  for await (const entry of readTar(stream as AsyncIterable<Buffer>, limits)) {
    yield { name: entry.name, bytes: await entry.read(), label };
  }
}

/** @throws ArchiveError if the images are not those of the development kit */
export async function prepareValidArchive(ctx: Context, archive: string, devkit: Devkit): Promise<void> {
  const places = await placesIn(archive, ctx.signal);
  const labels = places.map(({ name }) => validationLabel(devkit, name, archive));
  if (places.length !== devkit.validation.length) {
    throw new ArchiveError(
      archive,
      null,
      `it holds ${places.length} images, the development kit has labels for ${devkit.validation.length}`,
    );
  }
  await prepareValidChunks(ctx, places, (chunk, first) => imagesAt(archive, chunk, labels, first), devkit);
}

/** The class number of `ILSVRC2012_val_00000293.JPEG`. */
export function validationLabel({ validation }: Devkit, name: string, source: string): number {
  const [, digits] = /ILSVRC2012_val_(\d{8})\.jpe?g$/i.exec(name) ?? [];
  const label = digits === undefined ? undefined : validation[Number(digits) - 1];
  if (label === undefined)
    throw new ArchiveError(source, name, 'is no validation image that the development kit knows');
  return label;
}

/** Validation images in shards of 1000. @param read the pictures of a chunk; `first`: number of its first one */
export async function prepareValidChunks<T>(
  ctx: Context,
  images: readonly T[],
  read: (chunk: readonly T[], first: number) => AsyncIterable<SourcePicture>,
  { wnids }: Pick<Devkit, 'wnids'>,
): Promise<void> {
  const chunks = Array.from({ length: Math.ceil(images.length / IMAGES_PER_SHARD) }, (_, i) =>
    images.slice(i * IMAGES_PER_SHARD, (i + 1) * IMAGES_PER_SHARD),
  );
  const progress = new SplitProgress(ctx, 'valid', images.length, 'images');
  await mapConcurrent(chunks, ctx.threads, (chunk, i) => {
    const number = String(i).padStart(5, '0');
    return progress.step(chunk.length, (advance) =>
      ctx.step(`valid/${number}`, (output) =>
        writePictures(ctx, output, `valid-${number}`, read(chunk, i * IMAGES_PER_SHARD), () => advance(1)),
      ),
    );
  });
  await ctx.step('valid/classes', async (output) => {
    await writeClasses(output, 'valid', wnids);
    return {};
  });
}

async function* imagesAt(
  archive: string,
  chunk: readonly Place[],
  labels: readonly number[],
  first: number,
): AsyncGenerator<SourcePicture> {
  const file = await open(archive, 'r');
  try {
    for (const [i, { name, offset, bytes }] of chunk.entries()) {
      const content = Buffer.allocUnsafeSlow(bytes);
      const { bytesRead } = await file.read(content, 0, bytes, offset);
      if (bytesRead !== bytes) throw new ArchiveError(archive, name, 'is cut off');
      yield { name, bytes: content, label: labels[first + i]! };
    }
  } finally {
    await file.close();
  }
}
