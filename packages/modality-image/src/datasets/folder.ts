/** Images of the user's own; see core's `openLabelledFiles` for what `data.path` may be, for classes and split. */
import {
  type DataConfig,
  type DataSource,
  type FileKind,
  type LabelledFiles,
  namedFiles,
  type OpenDataOptions,
  openLabelledFiles,
} from '@d2v/core';
import type { ImageDataConfig } from '../data-config.js';
import { decodePlanned, IMAGE_EXTENSIONS, openImage } from '../decode.js';
import { normalize, planTransform } from '../transforms.js';

export const IMAGES: FileKind = { noun: 'images', extensions: IMAGE_EXTENSIONS };

/** Opens `data.path`. @throws D2vError if there are no images */
export async function openFolder(
  data: ImageDataConfig & DataConfig & { path: string },
  options: Pick<OpenDataOptions, 'split' | 'log'>,
): Promise<DataSource> {
  return fileSource(data.path, await openLabelledFiles(data, IMAGES, options), data);
}

/** Image files and folders of them, named one by one: unlabelled unless a list says more, without augmentation. */
export async function openFiles(
  paths: readonly string[],
  data: ImageDataConfig & DataConfig,
): Promise<DataSource> {
  return fileSource(paths.join(', '), await namedFiles(paths, IMAGES, data.label), data);
}

function fileSource(name: string, { files, classes }: LabelledFiles, data: ImageDataConfig): DataSource {
  const numbers = new Map(classes.map((className, number) => [className, number]));
  const label = (index: number) => numbers.get(files[index]!.className ?? '') ?? -1;
  return {
    length: files.length,
    name,
    classes: classes.length > 0 ? classes : undefined,
    describe: (index) => files[index]!.path,
    label,
    async get(index, rng, mode) {
      const image = await openImage(files[index]!.path, data);
      const plan = planTransform(image.width, image.height, data, rng, mode);
      const pixels = await decodePlanned(image, plan, data);
      const number = label(index);
      return {
        tensors: { source: normalize(pixels, plan.flip, data) },
        label: number < 0 ? undefined : number,
        id: index,
      };
    },
  };
}
