import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RawImage } from './raw-image.js';
import { type Axis, type Interpolation, resampleNormalized } from './resample.js';

interface Options {
  interpolation?: Interpolation;
  flip?: boolean;
  columns?: Partial<Axis>;
  rows?: Partial<Axis>;
}

/** Resizes and gives values from 0 to 255. */
function resize(image: RawImage, width: number, height: number, options: Options = {}): Float32Array {
  return resampleNormalized(
    image,
    { lo: 0, hi: image.width, from: 0, to: image.width, size: width, ...options.columns },
    { lo: 0, hi: image.height, from: 0, to: image.height, size: height, ...options.rows },
    {
      flip: options.flip ?? false,
      interpolation: options.interpolation ?? 'bicubic',
      mean: [0, 0, 0],
      std: [1 / 255, 1 / 255, 1 / 255],
    },
  );
}

const sawtooth: RawImage = {
  width: 7,
  height: 6,
  channels: 1,
  data: Uint8Array.from({ length: 42 }, (_, i) => (i * 37 + 11) % 251),
};

function expectPlane(actual: Float32Array, expected: number[]) {
  for (const [i, value] of expected.entries()) expect(actual[i], `value ${i}`).toBeCloseTo(value, 2);
}

const picture = fc
  .tuple(fc.integer({ min: 1, max: 24 }), fc.integer({ min: 1, max: 24 }), fc.constantFrom<1 | 3>(1, 3))
  .chain(([width, height, channels]) =>
    fc
      .uint8Array({ minLength: width * height * channels, maxLength: width * height * channels })
      .map((data): RawImage => ({ width, height, channels, data })),
  );
const side = fc.integer({ min: 1, max: 24 });

// Expected values: PyTorch's interpolate(..., antialias=True) of the same numbers.
describe('resampleNormalized', () => {
  it('shrinks like an antialiased bicubic filter', () => {
    expectPlane(
      resize(sawtooth, 5, 4),
      [
        22.0526, 71.2172, 124.3042, 177.3154, 227.9963, 33.4207, 82.5853, 135.6723, 189.189, 229.7444,
        46.0761, 95.2408, 148.3277, 210.339, 80.7177, 57.4442, 106.6088, 159.6958, 222.2125, 82.4657,
      ],
    );
  });

  it('enlarges, and clamps what overshoots', () => {
    const rows = resize(sawtooth, 8, 9);
    expectPlane(rows, [9.419, 39.592, 72.911, 105.286, 137.661, 170.036, 203.356, 233.529]);
    expectPlane(rows.subarray(24), [24.612, 54.785, 88.104, 120.479, 152.854, 184.742, 220.756, 255]);
    expectPlane(rows.subarray(40), [35.278, 65.452, 98.771, 131.146, 163.521, 204.809, 188.854, 0]);
  });

  it('sees nothing beyond a crop', () => {
    const crop = { columns: { lo: 2, hi: 7, from: 2, to: 7 }, rows: { lo: 1, hi: 5, from: 1, to: 5 } };
    expectPlane(
      resize(sawtooth, 4, 3, crop),
      [
        99.5768, 144.8675, 191.7113, 249.113, 110.0573, 155.3481, 206.673, 146.114, 120.5379, 165.8286,
        221.6349, 43.1151,
      ],
    );
  });

  it('offers bilinear', () => {
    expectPlane(
      resize(sawtooth, 4, 3, { interpolation: 'bilinear' }),
      [
        36.0952, 93.6743, 161.7543, 219.3333, 50.3809, 107.96, 176.04, 167.8809, 64.6667, 122.2457, 190.3257,
        116.4286,
      ],
    );
  });

  it('leaves a picture of the right size alone, whatever the filter', () => {
    const check = (image: RawImage, interpolation: Interpolation) => {
      const out = resize(image, image.width, image.height, { interpolation });
      const area = image.width * image.height;
      const expected = out.map((_, i) => {
        const channel = image.channels === 1 ? 0 : Math.floor(i / area);
        return image.data[(i % area) * image.channels + channel]!;
      });
      expect(out.every((value, i) => Math.abs(value - expected[i]!) < 0.001)).toBe(true);
    };
    fc.assert(fc.property(picture, fc.constantFrom('bicubic', 'bilinear', 'nearest'), check), {
      numRuns: 60,
    });
  });

  it('keeps a flat picture flat, also across the cuts of a crop', () => {
    const check = (image: RawImage, value: number, width: number, height: number, seed: number) => {
      const left = seed % image.width;
      const columns = { lo: left, hi: image.width, from: left, to: image.width };
      const flat = resize({ ...image, data: image.data.map(() => value) }, width, height, { columns });
      expect(flat.every((v) => Math.abs(v - value) < 0.01)).toBe(true);
    };
    fc.assert(fc.property(picture, fc.integer({ min: 0, max: 255 }), side, side, fc.nat(), check), {
      numRuns: 100,
    });
  });

  it('flips what it gives without the flip, and stays in range', () => {
    const check = (image: RawImage, width: number, height: number) => {
      const [normal, mirrored] = [false, true].map((flip) => resize(image, width, height, { flip }));
      const expected = normal!.map((_, i) => normal![i - (i % width) + width - 1 - (i % width)]!);
      expect(mirrored).toEqual(expected);
      expect(normal!.every((value) => value >= 0 && value <= 255.001)).toBe(true);
    };
    fc.assert(fc.property(picture, side, side, check), { numRuns: 100 });
  });

  it('gives grey in three channels, each with its own mean and deviation', () => {
    const options = {
      flip: false,
      interpolation: 'nearest' as const,
      mean: [0.1, 0.2, 0.3],
      std: [0.5, 0.25, 1],
    };
    const axis: Axis = { lo: 0, hi: 1, from: 0, to: 1, size: 1 };
    const one: RawImage = { width: 1, height: 1, channels: 1, data: Uint8Array.of(51) };
    const [r, g, b] = resampleNormalized(one, axis, axis, options);
    expect(r).toBeCloseTo(0.2, 6);
    expect(g).toBeCloseTo(0, 6);
    expect(b).toBeCloseTo(-0.1, 6);
  });
});
