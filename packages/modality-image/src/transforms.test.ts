import { Philox } from '@d2v/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RawImage } from './raw-image.js';
import {
  applyPlan,
  centerCrop,
  normalize,
  planTransform,
  randomCrop,
  type TransformConfig,
} from './transforms.js';

const config: TransformConfig = {
  input_size: 32,
  crop_scale: [0.2, 1],
  crop_ratio: [3 / 4, 4 / 3],
  crop_pct: null,
  flip: 0.5,
  interpolation: 'bicubic',
  mean: [0, 0, 0],
  std: [1, 1, 1],
};
const size = fc.integer({ min: 1, max: 3000 });
const seed = fc.integer({ min: 0, max: 2 ** 31 });

describe('randomCrop', () => {
  it('stays inside, whatever the picture', () => {
    const check = (width: number, height: number, s: number) => {
      const box = randomCrop(width, height, config.crop_scale, config.crop_ratio, new Philox(s));
      for (const value of Object.values(box)) expect(Number.isInteger(value)).toBe(true);
      expect(box.left).toBeGreaterThanOrEqual(0);
      expect(box.top).toBeGreaterThanOrEqual(0);
      expect(box.width).toBeGreaterThanOrEqual(1);
      expect(box.height).toBeGreaterThanOrEqual(1);
      expect(box.left + box.width).toBeLessThanOrEqual(width);
      expect(box.top + box.height).toBeLessThanOrEqual(height);
    };
    fc.assert(fc.property(size, size, seed, check), { numRuns: 500 });
  });

  it('keeps area and aspect ratio in their ranges, and uses all of them', () => {
    const rng = new Philox(1);
    const boxes = Array.from({ length: 4000 }, () => randomCrop(400, 400, [0.2, 1], [3 / 4, 4 / 3], rng));
    const areas = boxes.map((box) => (box.width * box.height) / 160_000);
    const ratios = boxes.map((box) => box.width / box.height);
    expect(Math.min(...areas)).toBeGreaterThan(0.195);
    expect(Math.min(...areas)).toBeLessThan(0.22);
    expect(Math.max(...areas)).toBeGreaterThan(0.95);
    expect(Math.min(...ratios)).toBeGreaterThan(0.74);
    expect(Math.max(...ratios)).toBeLessThan(1.35);
    // The mean of a uniform area, a little below it as large crops of other ratios do not fit.
    const mean = areas.reduce((a, b) => a + b) / areas.length;
    expect(mean).toBeGreaterThan(0.53);
    expect(mean).toBeLessThan(0.6);
    // Log-uniform: as often wide as high.
    expect(ratios.filter((ratio) => ratio > 1).length / ratios.length).toBeCloseTo(0.5, 1);
  });

  it('puts crops everywhere', () => {
    const rng = new Philox(2);
    const lefts = Array.from({ length: 2000 }, () => {
      const box = randomCrop(100, 100, [0.25, 0.25], [1, 1], rng);
      return box.left;
    });
    expect(Math.min(...lefts)).toBe(0);
    expect(Math.max(...lefts)).toBe(50);
  });

  it('falls back to the centre of a picture that is too long', () => {
    expect(randomCrop(1000, 10, [0.9, 1], [3 / 4, 4 / 3], new Philox(1))).toEqual({
      left: 493,
      top: 0,
      width: 13,
      height: 10,
    });
    expect(randomCrop(10, 1000, [0.9, 1], [3 / 4, 4 / 3], new Philox(1))).toEqual({
      left: 0,
      top: 493,
      width: 10,
      height: 13,
    });
  });
});

describe('centerCrop', () => {
  it('is 224 of 256 for an ImageNet photo', () => {
    const box = centerCrop(500, 375, { ...config, input_size: 224 });
    // Resized to 341 x 256; the crop starts at 58.5, rounded to 59, and 16.
    expect(box.left).toBeCloseTo((59 * 500) / 341, 6);
    expect(box.top).toBeCloseTo((16 * 375) / 256, 6);
    expect(box.height).toBeCloseTo((224 * 375) / 256, 6);
  });

  it('is the whole of a square picture with crop_pct 1', () => {
    expect(centerCrop(28, 28, { ...config, crop_pct: 1 })).toEqual({
      left: 0,
      top: 0,
      width: 28,
      height: 28,
    });
  });

  it('lies inside', () => {
    const check = (width: number, height: number, pct: number) => {
      const box = centerCrop(width, height, { ...config, crop_pct: pct });
      expect(box.left).toBeGreaterThanOrEqual(0);
      expect(box.top).toBeGreaterThanOrEqual(0);
      expect(box.left + box.width).toBeLessThanOrEqual(width + 1e-6);
      expect(box.top + box.height).toBeLessThanOrEqual(height + 1e-6);
    };
    fc.assert(fc.property(size, size, fc.double({ min: 0.1, max: 1, noNaN: true }), check));
  });
});

describe('applyPlan', () => {
  const image: RawImage = {
    width: 40,
    height: 30,
    channels: 3,
    data: Uint8Array.from({ length: 3600 }, (_, i) => (i * 7919) % 256),
  };

  it('depends on the generator only', () => {
    const sample = (s: number) =>
      applyPlan(image, planTransform(40, 30, config, new Philox(s), 'train'), config);
    expect(sample(5)).toEqual(sample(5));
    expect(sample(5).data).not.toEqual(sample(6).data);
    expect(sample(5).shape).toEqual([3, 32, 32]);
  });

  it('draws nothing in evaluation', () => {
    const rng = new Philox(3);
    const a = applyPlan(image, planTransform(40, 30, config, rng, 'eval'), config);
    const b = applyPlan(image, planTransform(40, 30, config, new Philox(9), 'eval'), config);
    expect(a).toEqual(b);
    expect(rng.nextU32()).toBe(new Philox(3).nextU32());
  });

  it('flips about as often as it should', () => {
    const flips = Array.from(
      { length: 1000 },
      (_, s) => planTransform(40, 30, config, new Philox(s), 'train').flip,
    );
    expect(flips.filter(Boolean).length).toBeGreaterThan(440);
    expect(flips.filter(Boolean).length).toBeLessThan(560);
    const never = { ...config, flip: 0 };
    const always = { ...config, flip: 1 };
    for (let s = 0; s < 50; s++) {
      expect(planTransform(40, 30, never, new Philox(s), 'train').flip).toBe(false);
      expect(planTransform(40, 30, always, new Philox(s), 'train').flip).toBe(true);
    }
  });
});

describe('normalize', () => {
  it('separates channels, subtracts the mean, divides by the deviation', () => {
    const image: RawImage = {
      width: 2,
      height: 1,
      channels: 3,
      data: Uint8Array.of(0, 51, 102, 153, 204, 255),
    };
    const how = { mean: [0.2, 0.4, 0.5], std: [0.5, 0.2, 0.25] };
    const { data, shape } = normalize(image, false, how);
    expect(shape).toEqual([3, 1, 2]);
    for (const [i, value] of [-0.4, 0.8, -1, 2, -0.4, 2].entries()) expect(data[i]).toBeCloseTo(value, 6);
    const flipped = normalize(image, true, how).data;
    for (const [i, value] of [0.8, -0.4, 2, -1, 2, -0.4].entries()) expect(flipped[i]).toBeCloseTo(value, 6);
  });
});
