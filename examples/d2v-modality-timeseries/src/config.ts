/** Keys of the modality in the run config; those that every modality has come from core. */
import { modalityConfigShape, z } from '@d2v/core';

export const timeseriesConfigSchema = z.strictObject({
  ...modalityConfigShape,
  channels: z.int().min(1).default(1).describe('values per time step; the data must have as many columns'),
  patch_length: z.int().min(1).default(8).describe('time steps per token'),
});

export type TimeseriesConfig = z.output<typeof timeseriesConfigSchema>;

export const timeseriesDataSchema = z.strictObject({
  crop_length: z
    .int()
    .min(0)
    .default(192)
    .describe('training: longest random crop of a series in time steps; 0 = whole series'),
  jitter: z.number().min(0).default(0.05).describe('training: standard deviation of added noise'),
});

export type TimeseriesData = z.output<typeof timeseriesDataSchema>;
