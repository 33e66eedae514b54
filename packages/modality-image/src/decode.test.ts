import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BadSampleError, Philox } from '@d2v/core';
import sharp, { type Sharp } from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DecodeConfig, decodePlanned, decodeWhole, openImage, openImageBytes } from './decode.js';
import type { RawImage } from './raw-image.js';
import { normalize, planTransform, type TransformConfig } from './transforms.js';

const limits: DecodeConfig = { max_pixels: 1 << 24, fail_on: 'warning' };
const config: TransformConfig & DecodeConfig = {
  ...limits,
  input_size: 32,
  crop_scale: [0.2, 1],
  crop_ratio: [3 / 4, 4 / 3],
  crop_pct: null,
  flip: 0,
  interpolation: 'bicubic',
  mean: [0, 0, 0],
  std: [1, 1, 1],
};

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'd2v-decode-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const flat = (r: number, g: number, b: number, width = 64, height = 48) =>
  sharp({ create: { width, height, channels: 3, background: { r, g, b } } });

/** A smooth picture: gradients and waves. (Texture finer than a pixel of the result would only measure aliasing.) */
function scene(width: number, height: number): Sharp {
  const data = Buffer.alloc(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    const [x, y] = [i % width, Math.floor(i / width)];
    data[i * 3] = (255 * x) / width;
    data[i * 3 + 1] = (255 * y) / height;
    data[i * 3 + 2] = 128 + 60 * Math.sin(x / 60) * Math.cos(y / 50);
  }
  return sharp(data, { raw: { width, height, channels: 3 } });
}

const whole = async (bytes: Buffer, how = limits) =>
  decodeWhole(await openImageBytes('some/file', bytes, how), how);
const pixel = (image: RawImage, index = 0) => [...image.data.subarray(index * 3, index * 3 + 3)];
const near = (actual: number[], expected: number[], tolerance: number) => {
  for (const [i, value] of expected.entries())
    expect(Math.abs(actual[i]! - value)).toBeLessThanOrEqual(tolerance);
};
/** The reason why these bytes are refused, at opening or at decoding. */
async function refusal(bytes: Buffer, how = limits): Promise<string> {
  const error = await whole(bytes, how).then(
    () => null,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(BadSampleError);
  expect((error as BadSampleError).file).toBe('some/file');
  expect((error as BadSampleError).reason).not.toMatch(/\n/);
  return (error as BadSampleError).reason;
}

describe('conversion to 8-bit sRGB', () => {
  const cases: Record<string, [Sharp, number[], number]> = {
    JPEG: [flat(200, 100, 50).jpeg({ quality: 95 }), [200, 100, 50], 3],
    PNG: [flat(200, 100, 50).png(), [200, 100, 50], 0],
    WebP: [flat(200, 100, 50).webp({ lossless: true }), [200, 100, 50], 0],
    AVIF: [flat(200, 100, 50).avif({ lossless: true }), [200, 100, 50], 2],
    TIFF: [flat(200, 100, 50).tiff({ compression: 'lzw' }), [200, 100, 50], 0],
    'palette PNG': [flat(200, 100, 50).png({ palette: true }), [200, 100, 50], 1],
    '16-bit PNG': [flat(200, 100, 50).toColourspace('rgb16').png(), [200, 100, 50], 1],
    '16-bit grey': [flat(100, 100, 100).toColourspace('grey16').png(), [100, 100, 100], 1],
    'grey JPEG': [flat(100, 100, 100).toColourspace('b-w').jpeg({ quality: 95 }), [100, 100, 100], 2],
    'CMYK JPEG': [flat(200, 100, 50).toColourspace('cmyk').jpeg({ quality: 95 }), [200, 100, 50], 30],
    'CMYK with profile': [
      flat(200, 100, 50).withIccProfile('cmyk').jpeg({ quality: 95 }),
      [200, 100, 50],
      30,
    ],
    'wide-gamut profile': [flat(200, 100, 50).withIccProfile('p3').png(), [200, 100, 50], 2],
    '1-bit TIFF': [flat(255, 255, 255).toColourspace('b-w').tiff({ bitdepth: 1 }), [255, 255, 255], 0],
  };
  for (const [name, [picture, color, tolerance]] of Object.entries(cases)) {
    it(name, async () => {
      const image = await whole(await picture.toBuffer());
      expect(image).toMatchObject({ width: 64, height: 48, channels: 3 });
      expect(image.data.length).toBe(64 * 48 * 3);
      near(pixel(image), color, tolerance);
    });
  }

  it('takes a profile at its word', async () => {
    // The numbers of a wide-gamut red, mislabelled: sRGB numbers under a Display P3 profile are a stronger colour.
    const p3 = await flat(200, 100, 50).withIccProfile('p3', { attach: true }).png().toBuffer();
    const { data } = await sharp(p3, { ignoreIcc: true }).raw().toBuffer({ resolveWithObject: true });
    expect([...data.subarray(0, 3)]).not.toEqual([200, 100, 50]);
    near(pixel(await whole(p3)), [200, 100, 50], 2);
  });

  it('puts transparent pictures on white', async () => {
    const background = { r: 200, g: 0, b: 0, alpha: 0.5 };
    const rgba = await sharp({ create: { width: 8, height: 8, channels: 4, background } })
      .png()
      .toBuffer();
    near(pixel(await whole(rgba)), [227, 127, 127], 1);
    const grey = await sharp({ create: { width: 8, height: 8, channels: 4, background: '#00000000' } })
      .toColourspace('b-w')
      .png()
      .toBuffer();
    expect((await sharp(grey).metadata()).channels).toBe(2);
    expect(pixel(await whole(grey))).toEqual([255, 255, 255]);
  });

  it('takes the first frame of an animation', async () => {
    const frames = await Promise.all(
      [flat(255, 0, 0, 8, 8), flat(0, 255, 0, 8, 8)].map((f) => f.raw().toBuffer()),
    );
    const strip = sharp(Buffer.concat(frames), { raw: { width: 8, height: 16, channels: 3, pageHeight: 8 } });
    const options = { delay: [10, 10], loop: 0 };
    for (const bytes of [
      await strip.clone().gif(options).toBuffer(),
      await strip
        .clone()
        .webp({ ...options, lossless: true })
        .toBuffer(),
    ]) {
      expect((await sharp(bytes).metadata()).pages).toBe(2);
      const image = await whole(bytes);
      expect(image).toMatchObject({ width: 8, height: 8 });
      expect(pixel(image)).toEqual([255, 0, 0]);
    }
  });

  it('turns pictures upright', async () => {
    const upright = await scene(60, 40).raw().toBuffer();
    for (let orientation = 1; orientation <= 8; orientation++) {
      // Store the picture so that applying the tag gives the upright one back.
      const stored = sharp(upright, { raw: { width: 60, height: 40, channels: 3 } });
      const inverse: Record<number, (s: Sharp) => Sharp> = {
        1: (s) => s,
        2: (s) => s.flop(),
        3: (s) => s.rotate(180),
        4: (s) => s.flip(),
        6: (s) => s.rotate(270),
        8: (s) => s.rotate(90),
      };
      const lay = inverse[orientation];
      if (!lay) continue;
      const bytes = await lay(stored).png().withMetadata({ orientation }).toBuffer();
      const image = await openImageBytes('x', bytes, limits);
      expect(image, `orientation ${orientation}`).toMatchObject({ width: 60, height: 40 });
      expect(
        Buffer.from((await decodeWhole(image, limits)).data).equals(upright),
        `orientation ${orientation}`,
      ).toBe(true);
    }
  });
});

describe('files that cannot be used', () => {
  it('says why', async () => {
    expect(await refusal(Buffer.alloc(0))).toBe('the file is empty');
    expect(await refusal(Buffer.from('<html>404 not found</html>'))).toMatch(/not an image/);
    expect(await refusal(Buffer.from('just text'))).toMatch(/not an image/);
    const svg =
      '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>';
    expect(await refusal(Buffer.from(svg))).toMatch(/unsupported kind of image \(svg\)/);
    const missing = await openImage(join(folder, 'none.png'), limits).catch(
      (error: BadSampleError) => error.reason,
    );
    expect(missing).toMatch(/does not exist/);
    await mkdir(join(folder, 'folder.png'));
    expect(await openImage(join(folder, 'folder.png'), limits).catch((e: BadSampleError) => e.reason)).toBe(
      'is a folder',
    );
  });

  it('refuses huge pictures by their header, with the limit', async () => {
    const bytes = await flat(1, 2, 3, 400, 300).png().toBuffer();
    expect(await refusal(bytes, { ...limits, max_pixels: 100_000 })).toBe(
      '400 x 300 pixels are more than data.max_pixels (100000) allows',
    );
    // A header that promises far more than there is: no memory is taken for it.
    const bomb = Buffer.from(bytes);
    bomb.writeUInt32BE(2_000_000_000, 16);
    expect(await refusal(bomb)).not.toBe('');
  });

  for (const format of ['jpeg', 'png', 'webp', 'gif', 'tiff', 'avif'] as const) {
    it(`${format} that was cut off`, async () => {
      const bytes = await scene(400, 300).toFormat(format).toBuffer();
      for (const share of [0.02, 0.3, 0.7, 0.97]) {
        expect(await refusal(bytes.subarray(0, Math.floor(bytes.length * share)))).toMatch(
          /damaged|not an image|empty/,
        );
      }
    });
  }

  it('a cut-off file is refused whatever part of it is shown', async () => {
    for (const format of ['jpeg', 'png'] as const) {
      const bytes = await scene(600, 600).toFormat(format).toBuffer();
      await expect(openImageBytes('x', bytes.subarray(0, bytes.length * 0.9), limits)).rejects.toThrow(
        /damaged/,
      );
    }
  });

  it('damage in the middle', async () => {
    for (const format of ['png', 'gif', 'avif'] as const) {
      const bytes = Buffer.from(await scene(400, 300).toFormat(format).toBuffer());
      for (let i = 0; i < 60; i++) bytes[Math.floor(bytes.length / 2) + i]! ^= 0xa5;
      expect(await refusal(bytes), format).toMatch(/damaged/);
    }
  });

  it('a name that promises another format does not matter', async () => {
    const path = join(folder, 'really-a.jpg');
    await writeFile(path, await flat(9, 8, 7).png().toBuffer());
    const image = await openImage(path, limits);
    expect(image.format).toBe('png');
    expect(pixel(await decodeWhole(image, limits))).toEqual([9, 8, 7]);
  });
});

describe('decodePlanned', () => {
  /** Crop and resize of the decoded whole, without short cuts. */
  async function reference(bytes: Buffer, box: { left: number; top: number; width: number; height: number }) {
    const upright = await sharp(bytes).autoOrient().png().toBuffer();
    return sharp(upright).extract(box).resize(32, 32, { fit: 'fill', kernel: 'cubic' }).raw().toBuffer();
  }
  const difference = (a: Uint8Array, b: Uint8Array) =>
    a.reduce((sum, v, i) => sum + Math.abs(v - b[i]!), 0) / a.length;

  for (const [name, make] of Object.entries({
    'large JPEG (shrunk while decoding)': () => scene(900, 700).jpeg({ quality: 95 }).toBuffer(),
    'large PNG': () => scene(900, 700).png().toBuffer(),
    'small JPEG': () => scene(50, 40).jpeg({ quality: 95 }).toBuffer(),
    'JPEG lying on its side': () =>
      scene(900, 700).jpeg({ quality: 95 }).withMetadata({ orientation: 6 }).toBuffer(),
  })) {
    it(`shows the planned part of a ${name}`, async () => {
      const bytes = await make();
      const image = await openImageBytes('x', bytes, limits);
      for (let seed = 0; seed < 12; seed++) {
        const plan = planTransform(image.width, image.height, config, new Philox(seed), 'train');
        const actual = await decodePlanned(image, plan, config);
        expect(actual).toMatchObject({ width: 32, height: 32, channels: 3 });
        // Where detail is skipped, the crop starts at a whole pixel of the result.
        const snap = (start: number, length: number, end: number) => {
          const cell = name.includes('JPEG') && length >= 64 ? length / 32 : 1;
          return Math.min(end - length, Math.round(Math.round(start / cell) * cell));
        };
        const { left, top, width, height } = plan.box;
        const box = {
          left: snap(left, width, image.width),
          top: snap(top, height, image.height),
          width,
          height,
        };
        expect(difference(actual.data, await reference(bytes, box))).toBeLessThan(3);
      }
    });
  }

  it('evaluates the centre, the same every time', async () => {
    const image = await openImageBytes('x', await scene(400, 300).png().toBuffer(), limits);
    const plan = planTransform(400, 300, config, new Philox(1), 'eval');
    const a = await decodePlanned(image, plan, config);
    expect(a.data).toEqual((await decodePlanned(image, plan, config)).data);
    // Red runs from left to right: the mean of a centred crop is that of the picture.
    let red = 0;
    for (let i = 0; i < 1024; i++) red += a.data[i * 3]! / 1024;
    expect(Math.abs(red - 127.5)).toBeLessThan(3);
    expect(normalize(a, false, config).shape).toEqual([3, 32, 32]);
  });

  it('copes with lines of one pixel', async () => {
    for (const [width, height] of [
      [1, 1],
      [5000, 1],
      [1, 5000],
    ] as const) {
      const image = await openImageBytes('x', await flat(10, 20, 30, width, height).png().toBuffer(), limits);
      for (const mode of ['train', 'eval'] as const) {
        const plan = planTransform(width, height, config, new Philox(4), mode);
        const { data } = await decodePlanned(image, plan, config);
        expect(data.length).toBe(32 * 32 * 3);
        near([...data.subarray(0, 3)], [10, 20, 30], 1);
      }
    }
  });
});
