/** Opening the datasets that `d2v data` downloads and prepares: all of them are shards. */
import { join } from 'node:path';
import {
  type DataConfig,
  type DataSource,
  type DeepPartial,
  type ManagedDataset,
  type OpenDataOptions,
  openDataset,
  type ReadyDataset,
} from '@d2v/core';
import type { ImageDataConfig } from '../data-config.js';
import { CIFAR_SIDE, cifar10, cifar100, cifarClasses } from './cifar.js';
import { readClasses } from './imagenet/classes.js';
import { imagenet } from './imagenet/index.js';
import { openShards, type ShardContents } from './shards.js';

/** A dataset with what suits its images, and how its prepared form is read. */
export type ManagedImages = ManagedDataset & {
  /** Settings of the `data` section; what the user says goes before. */
  suggested: DeepPartial<ImageDataConfig>;
  contents(ready: ReadyDataset): Promise<Omit<ShardContents, 'name' | 'license'>>;
};

const cifarContents: ManagedImages['contents'] = async ({ folder }) => ({
  classes: await cifarClasses(folder),
  raw: { width: CIFAR_SIDE, height: CIFAR_SIDE },
});
/** Objects fill these images: a fifth of one often shows nothing of them. */
const cifarSettings = { crop_scale: [0.4, 1], crop_pct: 1 } satisfies DeepPartial<ImageDataConfig>;

export const managed: readonly ManagedImages[] = [
  {
    ...imagenet,
    // The augmentation and pixel statistics that are the defaults were made for it.
    suggested: {},
    contents: async ({ folder, splits }) => ({ classes: await readClasses(folder, splits) }),
  },
  {
    ...cifar10,
    suggested: { ...cifarSettings, mean: [0.491, 0.482, 0.447], std: [0.247, 0.243, 0.262] },
    contents: cifarContents,
  },
  {
    ...cifar100,
    suggested: { ...cifarSettings, mean: [0.507, 0.487, 0.441], std: [0.267, 0.256, 0.276] },
    contents: cifarContents,
  },
];

/** Opens a prepared dataset. @throws D2vError with the command that prepares it */
export async function openManaged(
  dataset: ManagedImages,
  data: ImageDataConfig & DataConfig,
  options: OpenDataOptions,
): Promise<DataSource> {
  const { cacheDir } = options;
  const ready = await openDataset(dataset, { cacheDir, options: data.dataset_options });
  const { name, license } = dataset;
  const contents = { ...(await dataset.contents(ready)), name, license };
  const has = (split: string) => ready.splits.includes(split);
  const [train, valid] = ['train', 'valid'].map((split) => (has(split) ? shardsOf(ready, split) : null));
  // With one part alone, a share of it is held out.
  return openShards(
    { train: train ?? valid ?? [], valid: train ? (valid ?? null) : null },
    contents,
    data,
    options,
  );
}

/** Shards of a part, in the order of their names. */
function shardsOf({ folder, steps }: ReadyDataset, split: string): string[] {
  const names = steps
    .filter(({ key }) => key === split || key.startsWith(`${split}/`))
    .flatMap(({ files }) => files.map(({ name }) => name))
    .filter((name) => name.endsWith('.tar'));
  return names.map((name) => join(folder, name));
}
