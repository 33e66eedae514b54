/** Image keys of the `data` section. */
import { LABEL_RULES, z } from '@d2v/core';

const fraction = z.number().min(0).max(1);
const perChannel = z.tuple([z.number(), z.number(), z.number()]);

/** Mean and standard deviation of ImageNet's pixels, from 0 to 1: what image models are usually trained with. */
export const IMAGENET_MEAN: [number, number, number] = [0.485, 0.456, 0.406];
export const IMAGENET_STD: [number, number, number] = [0.229, 0.224, 0.225];

const range = (low: number, high: number) =>
  z.tuple([z.number().gt(0).max(low), z.number().gt(0).max(high)]).refine(([from, to]) => from <= to, {
    message: 'the first value must not be above the second',
  });

export const imageDataSchema = z.strictObject({
  input_size: z
    .int()
    .min(1)
    .max(4096)
    .default(224)
    .describe('side of the square input in pixels; follows model.modalities.image.input_size'),
  crop_scale: range(1, 1).default([0.2, 1]).describe('training: share of the area that a random crop shows'),
  crop_ratio: range(100, 100)
    .default([3 / 4, 4 / 3])
    .describe('training: range of width / height of a random crop'),
  flip: fraction.default(0.5).describe('training: probability of a mirror image'),
  crop_pct: z
    .number()
    .gt(0)
    .max(1)
    .nullable()
    .default(null)
    .describe(
      'evaluation: share of the shorter side that the centre crop shows; null = 224/256, or 1 above 224 px',
    ),
  interpolation: z
    .enum(['bicubic', 'bilinear', 'nearest'])
    .default('bicubic')
    .describe('how pictures are resized'),
  mean: perChannel.default(IMAGENET_MEAN).describe('subtracted from each channel (0 to 1)'),
  std: z
    .tuple([z.number().gt(0), z.number().gt(0), z.number().gt(0)])
    .default(IMAGENET_STD)
    .describe('each channel is divided by it'),
  label: z
    .enum(LABEL_RULES)
    .default('top')
    .describe('class of a picture in a folder tree: first folder, its own folder, all folders, or none'),
  max_pixels: z
    .int()
    .min(1)
    .max(0x3fff * 0x3fff)
    .default(0x3fff * 0x3fff)
    .describe('pictures with more pixels count as damaged'),
  fail_on: z
    .enum(['none', 'truncated', 'error', 'warning'])
    .default('warning')
    .describe('from which fault in a file on it counts as damaged'),
});

export type ImageDataConfig = z.output<typeof imageDataSchema>;
