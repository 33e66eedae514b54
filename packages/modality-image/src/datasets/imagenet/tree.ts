/**
 * An extracted tree, as scripts for other frameworks leave it: `train/<wnid>/*.JPEG` and `val/<wnid>/*.JPEG`, or a flat
 * `val/*.JPEG` whose classes come from the development kit.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { D2vError, hasEnding, mapConcurrent, type PrepareContext } from '@d2v/core';
import { IMAGES } from '../folder.js';
import { prepareValidChunks, validationLabel } from './archives.js';
import { writeClasses } from './classes.js';
import { type Devkit, WNID } from './devkit.js';
import { type PictureOptions, type SourcePicture, writePictures } from './pictures.js';
import { SplitProgress } from './progress.js';

type Context = PrepareContext<PictureOptions>;

/** A part that lies unpacked in a folder. */
export type Tree = { folder: string; flat: true } | { folder: string; flat: false; wnids: string[] };

/** Below `--from`: plainly, or as the archives of Kaggle unpack. */
const ROOTS = ['', 'ILSVRC/Data/CLS-LOC', 'Data/CLS-LOC'];
const FOLDERS = { train: ['train'], valid: ['val', 'valid', 'validation'] } as const;

/** Where a part lies unpacked below a folder; null if it does not. */
export async function findTree(from: string, split: 'train' | 'valid'): Promise<Tree | null> {
  for (const root of ROOTS) {
    for (const name of FOLDERS[split]) {
      const folder = join(from, root, name);
      const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
      const wnids = entries.filter((entry) => entry.isDirectory() && WNID.test(entry.name));
      if (wnids.length > 0) return { folder, flat: false, wnids: wnids.map((entry) => entry.name).sort() };
      if (split === 'valid' && entries.some((entry) => hasEnding(entry.name, IMAGES)))
        return { folder, flat: true };
    }
  }
  return null;
}

/** Images in a folder per class. @param wnids the classes, by number */
export async function prepareClassFolders(
  ctx: Context,
  split: 'train' | 'valid',
  tree: Tree & { flat: false },
  wnids: readonly string[],
): Promise<void> {
  // Counted, not kept: a million paths take more memory than the rest of the preparation.
  const counts = await mapConcurrent(
    tree.wnids,
    ctx.threads,
    async (wnid) => (await imagesIn(join(tree.folder, wnid))).length,
  );
  const total = counts.reduce((sum, count) => sum + count, 0);
  const progress = new SplitProgress(ctx, split, total, 'images');
  await mapConcurrent(tree.wnids, ctx.threads, async (wnid, i) => {
    const label = wnids.indexOf(wnid);
    if (label < 0)
      throw new D2vError(`${tree.folder} has the class ${wnid}, which the training images have not`);
    await progress.step(counts[i]!, (advance) =>
      ctx.step(`${split}/${wnid}`, async (output) => {
        const pictures = read(await imagesIn(join(tree.folder, wnid)), () => label);
        return writePictures(ctx, output, `${split}-${wnid}`, pictures, () => advance(1));
      }),
    );
  });
  await ctx.step(`${split}/classes`, async (output) => {
    await writeClasses(output, split, wnids);
    return {};
  });
}

/** Validation images in one folder. */
export async function prepareFlatFolder(ctx: Context, folder: string, devkit: Devkit): Promise<void> {
  const files = await imagesIn(folder);
  const label = (file: string) => validationLabel(devkit, file, folder);
  for (const file of files) label(file);
  await prepareValidChunks(ctx, files, (chunk) => read(chunk, label), devkit);
}

async function imagesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const names = entries.filter((entry) => !entry.isDirectory() && hasEnding(entry.name, IMAGES));
  if (names.length === 0) throw new D2vError(`${folder}: no images found (${IMAGES.extensions.join(', ')})`);
  return names.map((entry) => join(folder, entry.name)).sort();
}

async function* read(
  files: readonly string[],
  label: (file: string) => number,
): AsyncGenerator<SourcePicture> {
  for (const file of files) yield { name: file, bytes: await readFile(file), label: label(file) };
}
