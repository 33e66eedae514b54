import type { HostTensor, PreviewArgs, Sample } from '@d2v/core';
import { Philox } from '@d2v/core';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { type ImageDataConfig, imageDataSchema } from '../data-config.js';
import { previewImages } from './preview.js';

const data = imageDataSchema.parse({ input_size: 16 }) as PreviewArgs<ImageDataConfig>['data'];

/**
 * A white picture (after normalisation) and features that differ between its halves, the other way round in odd pictures,
 * besides a larger difference that is the same in all of them: that of the place.
 */
function example(id: number, size = 16, side = 4): { sample: Sample; features: HostTensor } {
  const source = new Float32Array(3 * size * size);
  for (let i = 0; i < source.length; i++) {
    const channel = Math.floor(i / (size * size));
    source[i] = (1 - data.mean[channel]!) / data.std[channel]!;
  }
  const rng = new Philox(id);
  const width = 6;
  const features = Float32Array.from({ length: side * side * width }, (_, i) => {
    const upper = Math.floor(i / width) < (side * side) / 2;
    const marked = upper === (id % 2 === 0);
    return (
      (i % width === 0 && marked ? 4 : 0) +
      (i % width === 1 ? 3 * Math.floor(i / width / side) : 0) +
      0.1 * rng.normal()
    );
  });
  return {
    sample: { id, tensors: { source: { data: source, shape: [3, size, size] } } },
    features: { data: features, shape: [side * side, width] },
  };
}

describe('previewImages', () => {
  it('is a PNG with the inputs above their features', async () => {
    const examples = Array.from({ length: 10 }, (_, id) => example(id));
    const png = await previewImages({
      samples: examples.map(({ sample }) => sample),
      features: examples.map(({ features }) => features),
      data,
    });
    const { data: pixels, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
    expect(info).toMatchObject({ width: 1238, channels: 3 });
    const at = (x: number, y: number) => [
      ...pixels.subarray((y * info.width + x) * 3, (y * info.width + x) * 3 + 3),
    ];
    // The first image starts where the labels end.
    const left = info.width - 24 - 8 * 128 - 7 * 8;
    expect(at(left + 64, 24 + 64)).toEqual([255, 255, 255]);
    const [upper, lower] = [at(left + 64, 24 + 136 + 20), at(left + 64, 24 + 136 + 108)];
    // The first component, red, tells the halves apart.
    expect(Math.abs(upper[0]! - lower[0]!)).toBeGreaterThan(180);
    // The same thing at another place, in the next picture, has the same colour.
    const next = at(left + 136 + 64, 24 + 136 + 108);
    expect(Math.abs(upper[0]! - next[0]!)).toBeLessThan(60);
  });

  it('takes large inputs, but only square grids', async () => {
    const { sample } = example(1, 300);
    const picture = (tokens: number) => {
      const features = { data: new Float32Array(tokens * 6), shape: [tokens, 6] };
      return previewImages({ samples: [sample], features: [features], data });
    };
    expect((await sharp(await picture(16)).metadata()).format).toBe('png');
    await expect(picture(14)).rejects.toThrow(/not those of a square picture/);
  });
});
