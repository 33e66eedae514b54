/**
 * Image files to 8-bit sRGB pixels, by sharp (libvips).
 *
 * Whatever a file holds becomes three channels of sRGB: embedded colour profiles and CMYK are converted, 16 bits are
 * scaled to 8, grey is repeated, transparent parts show white, an animation gives its first frame, and the orientation
 * that a camera recorded is applied. A file that cannot be read properly is a `BadSampleError` with the reason.
 */
import { readFile } from 'node:fs/promises';
import { BadSampleError } from '@d2v/core';
import sharp, { type Sharp } from 'sharp';
import type { RawImage } from './raw-image.js';
import { type Box, type Plan, resizedSize, type TransformConfig } from './transforms.js';

/** What decides whether a file is read. */
export interface DecodeConfig {
  /** Larger pictures (width x height) are refused before they are decoded. */
  max_pixels: number;
  /** sharp's `failOn`: how picky the decoders are. */
  fail_on: 'none' | 'truncated' | 'error' | 'warning';
}

/** File name endings that are taken for images; the content decides about the format. */
export const IMAGE_EXTENSIONS = [
  'jpg',
  'jpeg',
  'jpe',
  'jfif',
  'png',
  'webp',
  'gif',
  'avif',
  'tif',
  'tiff',
] as const;

/** Formats by content, as sharp names them (AVIF is a kind of heif). No vector graphics: those are programs. */
const FORMATS = new Set(['jpeg', 'png', 'webp', 'gif', 'heif', 'tiff']);

const WHITE = '#ffffff';

/** Above this a resized whole picture is not worth it: the crop is cut out first. */
const MAX_RESIZED_SIDE = 16_384;

/** An image file in memory whose header was read. */
export interface EncodedImage {
  file: string;
  bytes: Buffer;
  format: string;
  /** Upright, in pixels. */
  width: number;
  height: number;
}

/**
 * Reads a file and its header.
 * @throws BadSampleError if it is missing, empty, no image, or has too many pixels
 */
export async function openImage(file: string, config: DecodeConfig): Promise<EncodedImage> {
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch (error) {
    throw new BadSampleError(file, readReason(error), { cause: error });
  }
  return openImageBytes(file, bytes, config);
}

/** The same for bytes that are already in memory; `file` is for messages. */
export async function openImageBytes(
  file: string,
  bytes: Buffer,
  config: DecodeConfig,
): Promise<EncodedImage> {
  if (bytes.length === 0) throw new BadSampleError(file, 'the file is empty');
  try {
    const meta = await sharp(bytes, { limitInputPixels: false, failOn: config.fail_on }).metadata();
    if (!FORMATS.has(meta.format))
      throw new BadSampleError(file, `unsupported kind of image (${meta.format})`);
    const { width, height } = meta.autoOrient;
    if (width * height > config.max_pixels) {
      throw new BadSampleError(
        file,
        `${width} x ${height} pixels are more than data.max_pixels (${config.max_pixels}) allows`,
      );
    }
    const image = { file, bytes, format: meta.format, width, height };
    if (!hasEnd(image)) await pipeline(image, config).resize(1, 1, { fit: 'fill' }).raw().toBuffer();
    return image;
  } catch (error) {
    throw badImage(file, error);
  }
}

/**
 * Decodes what a plan shows of an image, at the input size: [input_size, input_size, 3].
 * @throws BadSampleError if the content is damaged
 */
export async function decodePlanned(
  image: EncodedImage,
  plan: Plan,
  config: TransformConfig & DecodeConfig,
): Promise<RawImage> {
  const size = config.input_size;
  const kernel = { bicubic: 'cubic', bilinear: 'linear', nearest: 'nearest' } as const;
  const fill = { fit: 'fill', kernel: kernel[config.interpolation] } as const;
  const input = pipeline(image, config);
  const whole = wholeSize(image, plan, config);
  if (whole && Math.max(whole.width, whole.height) <= MAX_RESIZED_SIDE) {
    const left = Math.min(whole.width - size, Math.round((plan.box.left * whole.width) / image.width));
    const top = Math.min(whole.height - size, Math.round((plan.box.top * whole.height) / image.height));
    input.resize(whole.width, whole.height, fill).extract({ left, top, width: size, height: size });
  } else {
    input.extract(wholePixels(plan.box, image)).resize(size, size, fill);
  }
  return toRaw(image.file, input);
}

/** Decodes all of an image: [height, width, 3]. @throws BadSampleError if the content is damaged */
export function decodeWhole(image: EncodedImage, config: DecodeConfig): Promise<RawImage> {
  return toRaw(image.file, pipeline(image, config));
}

function pipeline(image: EncodedImage, config: DecodeConfig): Sharp {
  return sharp(image.bytes, { limitInputPixels: config.max_pixels, failOn: config.fail_on }).autoOrient();
}

async function toRaw(file: string, input: Sharp): Promise<RawImage> {
  try {
    const { data, info } = await input
      .flatten({ background: WHITE })
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    if (info.channels !== 3) throw new Error(`${info.channels} channels after conversion to sRGB`);
    return { width: info.width, height: info.height, channels: 3, data };
  } catch (error) {
    throw badImage(file, error);
  }
}

/**
 * The size to which the whole picture is resized before the crop is cut out, or null to cut first.
 *
 * Evaluation is defined that way. In training cutting first is exact, but then JPEG and WebP decoders cannot skip
 * detail; where the crop is at least halved, resizing first saves most of the decoding.
 */
function wholeSize(
  image: EncodedImage,
  plan: Plan,
  config: TransformConfig,
): { width: number; height: number } | null {
  if (plan.mode === 'eval') return resizedSize(image.width, image.height, config);
  const shrinkable = image.format === 'jpeg' || image.format === 'webp';
  const { width, height } = plan.box;
  if (!shrinkable || Math.min(width, height) < 2 * config.input_size) return null;
  return {
    width: Math.round((image.width * config.input_size) / width),
    height: Math.round((image.height * config.input_size) / height),
  };
}

/** The smallest box of whole pixels, inside the image, that is near a box with fractions. */
function wholePixels(box: Box, image: EncodedImage): Box {
  const left = Math.min(image.width - 1, Math.round(box.left));
  const top = Math.min(image.height - 1, Math.round(box.top));
  return {
    left,
    top,
    width: Math.max(1, Math.min(image.width - left, Math.round(box.width))),
    height: Math.max(1, Math.min(image.height - top, Math.round(box.height))),
  };
}

/**
 * Whether the file's last bytes look complete. Decoders read only as far as a crop needs, so without this a file that
 * was cut off would be good or bad by the luck of the crop. (The other formats check their length in the header.)
 */
function hasEnd(image: Pick<EncodedImage, 'format' | 'bytes'>): boolean {
  const tail = image.bytes.subarray(-64);
  if (image.format === 'jpeg') return tail.includes(Buffer.from([0xff, 0xd9]));
  if (image.format === 'png') return tail.includes('IEND');
  return true;
}

/** Whatever a decoder says of a file, as an error of that sample. */
export function badImage(file: string, error: unknown): BadSampleError {
  if (error instanceof BadSampleError) return error;
  return new BadSampleError(file, decodeReason(error), { cause: error });
}

function readReason(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOENT') return 'the file does not exist (any more)';
  if (code === 'EISDIR') return 'is a folder';
  return `cannot be read (${code ?? String(error)})`;
}

/** The last, most specific line of a libvips message. */
function decodeReason(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  if (/unsupported image format/i.test(message)) return 'not an image (or of an unsupported kind)';
  const lines = message
    .replace(/^Input (buffer|file) has corrupt header:\s*/i, '')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('Warning treated as error'));
  return `damaged or truncated (${lines.at(-1) ?? 'corrupt header'})`;
}
