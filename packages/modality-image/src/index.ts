/** The image modality: vision transformers on folders of pictures, on tar shards and on datasets by name. */
import { defineModality, hasEnding } from '@d2v/core';
import { rawPixels } from './baseline.js';
import { collateImages } from './collate.js';
import { imageConfigSchema } from './config.js';
import { imageDataSchema } from './data-config.js';
import { IMAGES } from './datasets/folder.js';
import { datasets, openImageData, openImageInputs } from './datasets/index.js';
import { ImageEncoder } from './encoder.js';
import { presets } from './presets.js';
import { previewImages } from './preview/preview.js';
import { suggestSettings } from './suggest.js';

export { cifarWith } from './datasets/cifar.js';
export {
  type ImagenetArchive,
  type ImagenetArchives,
  type ImagenetOptions,
  imagenetWith,
} from './datasets/imagenet/index.js';

export default defineModality({
  name: 'image',
  // The number of the contract this was written for, not the constant of whichever core is installed.
  api: 1,
  moduleUrl: import.meta.url,
  configSchema: imageConfigSchema,
  dataSchema: imageDataSchema,
  presets,
  defaultPreset: 'tiny',
  supports: { labels: true, preview: true },
  createEncoder: (context) => new ImageEncoder(context),
  openData: openImageData,
  openInputs: openImageInputs,
  accepts: (file) => hasEnding(file, IMAGES),
  collate: collateImages,
  datasets,
  suggest: suggestSettings,
  baseline: { name: 'raw pixels', features: rawPixels },
  preview: previewImages,
});
