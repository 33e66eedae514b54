/** Opening a built-in dataset: from its cache file, or fetched and prepared first. */
import { join } from 'node:path';
import {
  D2vError,
  type DatasetInfo,
  type DeepPartial,
  explainCacheError,
  isHeldOut,
  type OpenDataOptions,
  type PinnedPackage,
  readTarball,
  withPackage,
} from '@d2v/core';
import type { ImageDataConfig } from '../data-config.js';
import type { RawImage } from '../raw-image.js';
import { DamagedPackError, type Pack, readPack, writePack } from './pack.js';

/** Share of each built-in dataset that is held out. */
const HELD_OUT_SHARE = 0.2;

/** One decoded picture of a dataset. */
export interface PreparedImage {
  image: RawImage;
  label: number;
  /** Unique in the dataset; decides whether the picture is held out. */
  name: string;
}

/** A built-in dataset: everything that differs from one to the next. */
export interface PreparedDataset extends DatasetInfo {
  name: string;
  /** Raise it when `prepare` gives something else: older cache files are then left alone. */
  version: number;
  source: PinnedPackage;
  classes: readonly string[];
  /** Which files of the package are needed (paths inside it). */
  wants(path: string): boolean;
  /** Decodes them; all pictures have one size. */
  prepare(files: Map<string, Buffer>): Promise<PreparedImage[]>;
  /** Settings of the `data` section that suit these pictures; what the user says goes before. */
  suggested: DeepPartial<ImageDataConfig>;
}

type OpenOptions = Pick<OpenDataOptions, 'cacheDir' | 'offline' | 'log'>;

/**
 * Opens a dataset, fetching it on first use. Several processes may do so at once: the cache file appears whole.
 * @throws D2vError with the remedy if it can be neither read nor fetched
 */
export async function openPrepared(dataset: PreparedDataset, options: OpenOptions): Promise<Pack> {
  const file = join(options.cacheDir, `${dataset.name}-${dataset.version}.d2vpack`);
  try {
    const pack = await readPack(file);
    if (pack) return pack;
  } catch (error) {
    if (!(error instanceof DamagedPackError)) throw explainCacheError(error, options.cacheDir);
    options.log(`${file} is ${error.message}: preparing it again`);
  }
  try {
    const pack = await withPackage(dataset.source, options, (tarball) => prepare(dataset, tarball));
    await writePack(file, pack);
    options.log(`prepared ${dataset.name}: ${pack.header.count} images (${dataset.license})`);
  } catch (error) {
    throw explainCacheError(error, options.cacheDir);
  }
  const pack = await readPack(file);
  if (!pack) throw new D2vError(`${file} was removed while it was being opened: try again`);
  return pack;
}

async function prepare(dataset: PreparedDataset, tarball: string): Promise<Parameters<typeof writePack>[1]> {
  const images = await dataset.prepare(await readTarball(tarball, (path) => dataset.wants(path)));
  const { width, height, channels } = images[0]!.image;
  const size = width * height * channels;
  const pixels = new Uint8Array(images.length * size);
  for (const [index, { image }] of images.entries()) pixels.set(image.data, index * size);
  return {
    header: {
      name: dataset.name,
      version: dataset.version,
      license: dataset.license,
      source: `${dataset.source.name}@${dataset.source.version}`,
      integrity: dataset.source.integrity,
      count: images.length,
      width,
      height,
      channels,
      classes: [...dataset.classes],
      names: images.map(({ name }) => name),
    },
    labels: Uint8Array.from(images, ({ label }) => label),
    heldOut: Uint8Array.from(images, ({ name }) => (isHeldOut(name, HELD_OUT_SHARE) ? 1 : 0)),
    pixels,
  };
}
