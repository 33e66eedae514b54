/** One step of the preparation: pictures from wherever they are into a shard, checked and perhaps made smaller. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Counts, D2vError, type PrepareContext, ShardWriter, type StepOutput } from '@d2v/core';
import sharp from 'sharp';
import { badImage, type DecodeConfig, openImageBytes } from '../../decode.js';
import { mapOrdered } from '../ordered.js';

/** What the preparation does to pictures. */
export interface PictureOptions {
  max_side: number | null;
  jpeg_quality: number;
}

/** A picture as it comes out of an archive, a folder or a table. */
export interface SourcePicture {
  /** Its name there, for messages; its stem becomes the key in the shard. */
  name: string;
  bytes: Buffer;
  label: number;
}

type Context = Pick<PrepareContext<PictureOptions>, 'options' | 'warn' | 'signal'>;

/** Pictures that are being checked or resized at once, per step. */
const AT_ONCE = 8;
/** Before a picture is decoded; the largest of ImageNet has 39 million pixels. */
const LIMITS: DecodeConfig = { max_pixels: 1 << 28, fail_on: 'warning' };

/**
 * Writes a shard `<name>.tar`. Damaged pictures are left out, counted and listed in `<name>.damaged.jsonl`.
 * @param took is told of each picture once it is done with
 * @throws D2vError if not one of them is good
 */
export async function writePictures(
  ctx: Context,
  output: StepOutput,
  name: string,
  pictures: AsyncIterable<SourcePicture>,
  took: (picture: SourcePicture) => void = () => {},
): Promise<Counts> {
  const shard = await ShardWriter.create(output, `${name}.tar`);
  const keys = new Set<string>();
  const damaged: { file: string; reason: string }[] = [];
  for await (const { source, jpg, reason } of mapOrdered(pictures, AT_ONCE, (picture) =>
    prepared(picture, ctx.options),
  )) {
    ctx.signal.throwIfAborted();
    if (jpg) await shard.add({ key: freeKey(source.name, keys), files: { jpg }, label: source.label });
    else damaged.push({ file: source.name, reason });
    took(source);
  }
  const [first] = damaged;
  if (first && shard.count === 0)
    throw new D2vError(
      `${name}: all ${damaged.length} images are damaged, e.g. ${first.file}: ${first.reason}`,
    );
  if (first) {
    const list = `${name}.damaged.jsonl`;
    await writeFile(join(output.folder, list), damaged.map((one) => `${JSON.stringify(one)}\n`).join(''));
    ctx.warn(
      `${name}: ${damaged.length} of ${shard.count + damaged.length} images are damaged and left out, e.g. ${first.file}: ${first.reason}; all are listed in ${list}`,
    );
  }
  const { samples, bytes } = await shard.finish();
  return { images: samples, damaged: damaged.length, bytes };
}

type Outcome = { source: SourcePicture; jpg: Uint8Array | null; reason: string };

async function prepared(source: SourcePicture, options: PictureOptions): Promise<Outcome> {
  try {
    return { source, jpg: await shrunk(source, options), reason: '' };
  } catch (error) {
    // By name, as loaders do: what is wrong with one picture is no reason to stop.
    if ((error as Error)?.name !== 'BadSampleError') throw error;
    return { source, jpg: null, reason: (error as { reason: string }).reason };
  }
}

/**
 * The picture as it is published, or with its shorter side made smaller: upright, sRGB, JPEG with 4:2:0 chroma. One that is
 * small enough is not touched.
 * @throws BadSampleError if it is damaged
 */
async function shrunk({ name, bytes }: SourcePicture, options: PictureOptions): Promise<Uint8Array> {
  const { width, height } = await openImageBytes(name, bytes, LIMITS);
  const side = options.max_side;
  if (side === null || Math.min(width, height) <= side) return bytes;
  const small = width < height ? { width: side } : { height: side };
  try {
    return await sharp(bytes, { limitInputPixels: LIMITS.max_pixels, failOn: LIMITS.fail_on })
      .autoOrient()
      .flatten({ background: '#ffffff' })
      .resize({ ...small, kernel: 'cubic' })
      .toColourspace('srgb')
      .jpeg({ quality: options.jpeg_quality, chromaSubsampling: '4:2:0' })
      .toBuffer();
  } catch (error) {
    throw badImage(name, error);
  }
}

/** `a/n01440764_10026.JPEG` as `n01440764_10026`: dots would end the key of a sample. */
export function keyOf(name: string): string {
  const base = name.slice(name.lastIndexOf('/') + 1);
  return base.replace(/\.[^.]*$/, '').replaceAll('.', '_');
}

/** The key of a picture among those that are taken: of `n_1.JPEG` and `n_1.png` the second becomes `n_1_png`. */
function freeKey(name: string, taken: Set<string>): string {
  const whole = name.slice(name.lastIndexOf('/') + 1).replaceAll('.', '_');
  let key = keyOf(name);
  if (taken.has(key)) key = whole;
  for (let i = 2; taken.has(key); i++) key = `${whole}_${i}`;
  taken.add(key);
  return key;
}
