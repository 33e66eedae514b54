/** The release on the Hugging Face hub: parquet files of shuffled rows, an image and its class each. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  ArchiveError,
  D2vError,
  type DatasetFile,
  type FilesContext,
  listHubFiles,
  mapConcurrent,
  type ParquetRow,
  type PrepareContext,
  parquetRowCount,
  readParquet,
} from '@d2v/core';
import { writeClasses } from './classes.js';
import { keyOf, type PictureOptions, type SourcePicture, writePictures } from './pictures.js';
import { SplitProgress } from './progress.js';

type Context = PrepareContext<PictureOptions>;

const REPOSITORY = 'datasets/ILSVRC/imagenet-1k';
/** `train-00003-of-00294.parquet`; the hub calls the valid part validation. */
const PART = /^(train|validation)-(\d{5})-of-(\d{5})\.parquet$/;
const PARTS: Record<string, string> = { train: 'train', valid: 'validation' };

/** The parquet files of some parts, with sizes and checksums from the hub, or as they lie in the folder `from`. */
export async function hubFiles({
  splits,
  from,
  mirror,
  fetchText,
}: Pick<FilesContext<unknown>, 'splits' | 'from' | 'mirror' | 'fetchText'>): Promise<DatasetFile[]> {
  const found = from === null ? [] : await foundFiles(from);
  const files = splits.every((split) => found.some((file) => isOf(split, file)))
    ? found
    : (await listHubFiles(REPOSITORY, 'data', { mirror, fetchText })).filter(isPart);
  return splits.flatMap((split) =>
    complete(
      split,
      files.filter((file) => isOf(split, file)),
    ),
  );
}

/** The parquet files of a split in a folder, which no published checksum vouches for. */
export async function hubInputs(from: string, split: string): Promise<string[]> {
  const found = await foundFiles(from);
  return found.filter((file) => isOf(split, file)).map(({ name }) => join(from, name));
}

const baseOf = (name: string): string => name.slice(name.lastIndexOf('/') + 1);
const isPart = ({ name }: DatasetFile): boolean => PART.test(baseOf(name));
const isOf = (split: string, { name }: DatasetFile): boolean => PART.exec(baseOf(name))?.[1] === PARTS[split];

async function foundFiles(from: string): Promise<DatasetFile[]> {
  const files: DatasetFile[] = [];
  for (const folder of ['', 'data']) {
    const names = await readdir(join(from, folder)).catch(() => []);
    for (const name of names.filter((one) => PART.test(one)).sort()) {
      files.push({ name: folder === '' ? name : `${folder}/${name}`, urls: [] });
    }
    if (files.length > 0) break;
  }
  return files;
}

/** @throws D2vError if one of `of` files is not there */
function complete(split: string, files: DatasetFile[]): DatasetFile[] {
  const total = Number(PART.exec(baseOf(files[0]?.name ?? ''))?.[3] ?? 1);
  const numbers = new Set(files.map(({ name }) => Number(PART.exec(baseOf(name))![2])));
  for (let i = 0; i < total; i++) {
    if (!numbers.has(i))
      throw new D2vError(`imagenet: of the ${total} parquet files of ${split}, number ${i} is missing`);
  }
  return files;
}

/** One shard per parquet file. */
export async function prepareHub(ctx: Context, split: string): Promise<void> {
  const files = ctx.files.filter((file) => isOf(split, file));
  const numbers = files.map(({ name }) => PART.exec(baseOf(name))![2]!);
  const rowCounts = await mapConcurrent(files, ctx.threads, ({ path }) => parquetRowCount(path));
  const total = rowCounts.reduce((sum, count) => sum + count, 0);
  const progress = new SplitProgress(ctx, split, total, 'images');
  await mapConcurrent(files, ctx.threads, ({ path }, i) => {
    const name = `${split}-${numbers[i]}`;
    return progress.step(rowCounts[i]!, (advance) =>
      ctx.step(`${split}/${numbers[i]}`, async (output) => {
        const classes: Record<string, string> = {};
        const rows = images(path, name, classes, ctx.signal);
        const counts = await writePictures(ctx, output, name, rows, () => advance(1));
        await writeFile(join(output.folder, `${name}.classes.json`), `${JSON.stringify(classes)}\n`);
        return counts;
      }),
    );
  });
  await ctx.step(`${split}/classes`, async (output) => {
    const merged: (string | null)[] = [];
    for (const number of numbers) {
      const text = await readFile(join(ctx.folder, `${split}-${number}.classes.json`), 'utf8');
      for (const [label, wnid] of Object.entries(JSON.parse(text) as Record<string, string>)) {
        merged[Number(label)] = wnid;
      }
    }
    await writeClasses(
      output,
      split,
      Array.from(merged, (wnid) => wnid ?? null),
    );
    return {};
  });
}

/** @param classes gets the WordNet ids that the names of the images end with, by class number */
async function* images(
  path: string,
  part: string,
  classes: Record<string, string>,
  signal: AbortSignal,
): AsyncGenerator<SourcePicture> {
  let row = 0;
  for await (const content of readParquet(path, { columns: ['image', 'label'], signal })) {
    const { bytes, name, label } = parseRow(content, path, row);
    const wnid = name?.match(/n\d{8}/g)?.at(-1);
    if (wnid !== undefined) classes[label] ??= wnid;
    yield { name: name ? keyOf(name) : `${part}_${String(row).padStart(6, '0')}`, bytes, label };
    row++;
  }
}

function parseRow({ image, label }: ParquetRow, path: string, row: number) {
  const { bytes, path: name } = (image ?? {}) as { bytes?: unknown; path?: unknown };
  const number = Number(label ?? -1);
  if (!(bytes instanceof Uint8Array) || !Number.isInteger(number) || number < 0 || number > 9999)
    throw new ArchiveError(path, null, `row ${row} has no image with bytes, or no label`);
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { bytes: buffer, name: typeof name === 'string' ? name : null, label: number };
}
