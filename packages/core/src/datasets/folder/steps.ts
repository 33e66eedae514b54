/** The preparation's steps: each one's files appear together and are recorded, or the step is done again. */
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import { D2vError } from '../../errors.js';
import { syncFolder } from '../../training/atomic-file.js';
import { checksumFile } from '../download/checksums.js';
import type { Counts, StepOutput } from '../types.js';
import { fileSize, inside } from './folder.js';
import type { Manifest, StepRecord, VariantRecord } from './manifest.js';

const KEY = /^[a-z0-9][a-z0-9._-]*(\/[a-z0-9][a-z0-9._-]*)*$/;
const STAGING = '.staging';

export class Steps {
  private readonly running = new Set<string>();

  /**
   * @param folder of the prepared files
   * @param variant its part of the manifest
   */
  constructor(
    private readonly folder: string,
    private readonly variant: VariantRecord,
    private readonly manifest: Manifest,
  ) {}

  /** See `PrepareContext.step`. */
  async run(key: string, make: (output: StepOutput) => Promise<Counts>): Promise<Counts> {
    if (!KEY.test(key))
      throw new D2vError(`step "${key}": its key must be lower case letters, digits, ".", "-", "_" and "/"`);
    if (this.running.has(key)) throw new D2vError(`step "${key}" is there twice`);
    this.running.add(key);
    const known = this.variant.steps[key];
    if (known && (await isThere(this.folder, known))) return known.counts;
    const staging = join(this.folder, STAGING, key.replaceAll('/', '+'));
    await rm(staging, { recursive: true, force: true });
    await mkdir(staging, { recursive: true });
    const closing: (() => Promise<void>)[] = [];
    try {
      const stated = new Map<string, { bytes: number; sha256: string }>();
      const counts = await make({
        folder: staging,
        wrote: (name, bytes, sha256) => void stated.set(name, { bytes, sha256 }),
        atEnd: (close) => void closing.push(close),
      });
      const files = await this.publish(staging, stated);
      this.checkOwners(key, files);
      await this.manifest.update(() => {
        this.variant.steps[key] = { counts: { ...counts }, files };
      });
      return counts;
    } finally {
      for (const close of closing) await close();
      await rm(staging, { recursive: true, force: true });
    }
  }

  /** Removes what no step has recorded: left by steps that were killed, or of an older version. */
  async sweep(): Promise<void> {
    const known = new Set(
      Object.values(this.variant.steps).flatMap(({ files }) => files.map(({ name }) => name)),
    );
    for (const name of await filesBelow(this.folder)) {
      if (!known.has(name)) await rm(join(this.folder, name), { force: true });
    }
    await rm(join(this.folder, STAGING), { recursive: true, force: true });
  }

  private async publish(
    staging: string,
    stated: ReadonlyMap<string, { bytes: number; sha256: string }>,
  ): Promise<StepRecord['files']> {
    const files: StepRecord['files'] = [];
    for (const name of await filesBelow(staging)) {
      const from = join(staging, name);
      await flush(from);
      const { bytes, sha256 } = stated.get(name) ?? (await digestOf(from));
      const actual = await fileSize(from);
      if (actual !== bytes) throw new D2vError(`${name} has ${actual} bytes, its writer said ${bytes}`);
      files.push({ name, bytes, sha256 });
    }
    const folders = new Set<string>();
    for (const { name } of files) {
      const to = inside(this.folder, name);
      await mkdir(dirname(to), { recursive: true });
      await rename(join(staging, name), to);
      folders.add(dirname(to));
    }
    for (const folder of folders) await syncFolder(folder);
    return files;
  }

  private checkOwners(key: string, files: StepRecord['files']): void {
    const names = new Set(files.map(({ name }) => name));
    for (const [other, step] of Object.entries(this.variant.steps)) {
      const shared = other === key ? undefined : step.files.find(({ name }) => names.has(name));
      if (shared) throw new D2vError(`the steps "${other}" and "${key}" both write ${shared.name}`);
    }
  }
}

/** Whether all files of a step are there with their sizes; contents are `verifyDataset`'s. */
export async function isThere(folder: string, { files }: StepRecord): Promise<boolean> {
  for (const { name, bytes } of files) {
    if ((await fileSize(inside(folder, name))) !== bytes) return false;
  }
  return true;
}

/**
 * Strikes a step off, so that it is done again. The splits that it belongs to count as complete no more: the one that its key
 * begins with, or all of them.
 * @param splits all splits of the dataset
 */
export const strike = (
  manifest: Manifest,
  variant: VariantRecord,
  key: string,
  splits: readonly string[],
): Promise<void> =>
  manifest.update(() => {
    const [first = ''] = key.split('/');
    const gone = variant.complete.filter((split) => !splits.includes(first) || split === first);
    delete variant.steps[key];
    variant.struck = [...new Set([...(variant.struck ?? []), ...gone])].sort();
    variant.complete = variant.complete.filter((split) => !gone.includes(split));
  });

async function digestOf(path: string): Promise<{ bytes: number; sha256: string }> {
  const { bytes, checksums } = await checksumFile(path, ['sha256']);
  return { bytes, sha256: checksums.sha256! };
}

async function flush(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Files below a folder, sorted, with `/`; staging left out. */
async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .filter((name) => !name.startsWith(`${STAGING}/`))
    .sort();
}
