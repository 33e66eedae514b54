import { datasetFolder, fileSize, inside, rawFolder, variantFolder } from './folder/folder.js';
import { readManifest, type VariantRecord } from './folder/manifest.js';
import type { Counts } from './types.js';

/** What is there of a dataset. */
export interface DatasetStats {
  name: string;
  folder: string;
  /** Complete downloads, also those in the user's own folders. */
  raw: { files: number; bytes: number };
  prepared: {
    /** Folder name: `default`, or what differs from the default options. */
    variant: string;
    folder: string;
    options: unknown;
    version: number;
    /** Splits that are complete. */
    splits: string[];
    /** Splits of which files are damaged or missing, as a check has found: to be prepared again. */
    damaged: string[];
    files: number;
    bytes: number;
    /** Sums over the steps. */
    counts: Counts;
  }[];
}

/** Reads what a dataset's manifest says; null if nothing is there. */
export async function datasetStats(name: string, cacheDir?: string): Promise<DatasetStats | null> {
  const folder = datasetFolder(name, cacheDir);
  const content = await readManifest(folder);
  if (!content) return null;
  const raw = { files: 0, bytes: 0 };
  for (const [file, { bytes, path }] of Object.entries(content.raw)) {
    if ((await fileSize(path ?? inside(rawFolder(folder), file))) !== bytes) continue;
    raw.files++;
    raw.bytes += bytes;
  }
  const prepared = Object.entries(content.prepared).map(([variant, record]) => ({
    variant,
    folder: variantFolder(folder, variant),
    options: record.options,
    version: record.version,
    splits: record.complete,
    damaged: record.struck ?? [],
    ...sums(record),
  }));
  return { name: content.name, folder, raw, prepared };
}

function sums({ steps }: VariantRecord): { files: number; bytes: number; counts: Counts } {
  const counts: Record<string, number> = {};
  let [files, bytes] = [0, 0];
  for (const step of Object.values(steps)) {
    for (const [key, value] of Object.entries(step.counts)) counts[key] = (counts[key] ?? 0) + value;
    for (const file of step.files) {
      files++;
      bytes += file.bytes;
    }
  }
  return { files, bytes, counts };
}
