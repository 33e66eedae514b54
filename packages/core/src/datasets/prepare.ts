/** `d2v data download` and `prepare`: doing what is missing, under the folder's lock. */
import { mkdir, rm } from 'node:fs/promises';
import { explainCacheError } from '../data/packages/cache-error.js';
import { D2vError } from '../errors.js';
import { bringFiles, checkUnchanged, type PresentFile } from './download/files.js';
import { variantFolder } from './folder/folder.js';
import { Manifest, readManifest, type SourceRecord, type VariantRecord } from './folder/manifest.js';
import { checkArchives, checkSources, currentSources } from './folder/sources.js';
import { isThere, Steps, strike } from './folder/steps.js';
import { splitNames } from './options.js';
import { type Session, startSession } from './session.js';
import type { DatasetFile, DatasetOptions, ManagedDataset, PreparedStep, ReadyDataset } from './types.js';

/**
 * Downloads what is missing of a dataset's chosen splits.
 * @returns where the files are, by name
 * @throws D2vError in one line with the remedy; what came so far is kept
 */
export async function downloadDataset(
  dataset: ManagedDataset,
  given: DatasetOptions = {},
): Promise<Map<string, string>> {
  const session = startSession(dataset, given);
  return explained(session, () =>
    session.locked(async () => {
      const manifest = await Manifest.open(session.folder, dataset.name, dataset.license);
      const files = await bringFiles(session, manifest);
      return new Map(files.map(({ name, path }) => [name, path]));
    }),
  );
}

/**
 * Downloads and prepares what is missing of a dataset's chosen splits; returns at once when nothing is.
 * @throws D2vError in one line with the remedy; what was done so far is kept
 */
export async function prepareDataset<O>(
  dataset: ManagedDataset<O>,
  given: DatasetOptions = {},
): Promise<ReadyDataset<O>> {
  return (await prepareIn(startSession(dataset, given))) as ReadyDataset<O>;
}

/** The same for a session. */
export function prepareIn(session: Session): Promise<ReadyDataset> {
  const { dataset, folder, chosen, given } = session;
  return explained(session, async () => {
    const content = await readManifest(folder);
    const ready = await readyIn(session, content);
    if (ready) {
      if (given.from !== undefined)
        checkSources(session, content?.prepared[chosen.variant]?.sources, await currentSources(session));
      return ready;
    }
    return session.locked(async () => {
      const manifest = await Manifest.open(folder, dataset.name, dataset.license);
      // Another process may have done it while this one waited.
      if (!(await readyIn(session, manifest.content))) await prepareLocked(session, manifest);
      return (await readyIn(session, manifest.content))!;
    });
  });
}

async function prepareLocked(session: Session, manifest: Manifest): Promise<void> {
  const { dataset, chosen, folder } = session;
  const target = variantFolder(folder, chosen.variant);
  const known = await currentVariant(session, manifest, target);
  const sources = await currentSources(session);
  // Where nothing is done yet, another source may take its place.
  const begun = known !== null && Object.keys(known.steps).length > 0;
  if (begun) checkSources(session, known.sources, sources);
  // Splits that are complete need their raw files no more: these may be gone.
  const splits = chosen.splits.filter((split) => !known?.complete.includes(split));
  // Only files of others are gone, which stay to be made again.
  if (splits.length === 0) return;
  const missing = { ...session, chosen: { ...chosen, splits } };
  const files = await bringFiles(missing, manifest, (published) => bytesToPrepare(session, known, published));
  if (files.length === 0 && session.given.from !== undefined && !dataset.inputs) {
    throw new D2vError(
      `dataset ${dataset.name}: it reads a folder in place of its files, but does not say what of it (inputs)`,
    );
  }
  if (begun) checkArchives(session, manifest.content, known, files);
  const variant = known ?? (await newVariant(session, manifest, target));
  await rememberSources(manifest, variant, sources, files);
  await mkdir(target, { recursive: true });
  const steps = new Steps(target, variant, manifest);
  await dataset.prepare({
    options: chosen.options,
    splits,
    folder: target,
    threads: session.threads,
    from: session.given.from ?? null,
    files,
    raw: (name) => rawPath(dataset, files, name),
    step: (key, make) => {
      session.signal.throwIfAborted();
      return steps.run(key, async (output) => {
        const counts = await make(output);
        await checkUnchanged(files, manifest);
        return counts;
      });
    },
    progress: (item, done, total, unit) =>
      session.emit({ type: 'progress', phase: 'prepare', item, done, total, unit }),
    log: session.log,
    warn: session.warn,
    signal: session.signal,
  });
  await steps.sweep();
  await manifest.update(() => {
    variant.complete = [...new Set([...variant.complete, ...chosen.splits])].sort();
    variant.struck = variant.struck?.filter((split) => !chosen.splits.includes(split));
  });
}

const rememberSources = (
  manifest: Manifest,
  variant: VariantRecord,
  sources: Record<string, SourceRecord>,
  files: readonly PresentFile[],
): Promise<void> =>
  manifest.update(({ raw }) => {
    variant.sources = { ...variant.sources, ...sources };
    variant.archives = { ...variant.archives };
    for (const { name } of files) {
      const { bytes, checksums } = raw[name]!;
      variant.archives[name] = { bytes, checksums };
    }
  });

/**
 * What the steps that are still to be done will take, by the dataset's estimate. Of a user's own tree (no files) nothing is
 * known: it may be a part of what is published.
 */
function bytesToPrepare(
  { dataset, chosen }: Session,
  known: VariantRecord | null,
  files: readonly DatasetFile[],
): number {
  if (files.length === 0) return 0;
  const splits = [...new Set([...(known?.complete ?? []), ...chosen.splits])];
  const all =
    dataset.preparedBytes?.(chosen.options, splits) ?? files.reduce((sum, { bytes = 0 }) => sum + bytes, 0);
  // Without an estimate of all splits, only the files of those that are missing are known.
  const counted = dataset.preparedBytes || !known?.complete.length ? known : null;
  const done = Object.values(counted?.steps ?? {}).flatMap((step) => step.files);
  return Math.max(0, all - done.reduce((sum, { bytes }) => sum + bytes, 0));
}

/** The manifest's part of a variant, less the steps whose files are gone; null for none, or one of another version. */
async function currentVariant(
  { dataset, chosen }: Session,
  manifest: Manifest,
  target: string,
): Promise<VariantRecord | null> {
  const known = manifest.content.prepared[chosen.variant];
  if (!known || !isCurrent(known, dataset, chosen.options)) return null;
  for (const [key, step] of Object.entries(known.steps)) {
    if (!(await isThere(target, step))) await strike(manifest, known, key, splitNames(dataset));
  }
  return known;
}

/** Begins a variant; what another version has made is removed. */
async function newVariant(
  { dataset, chosen, log }: Session,
  manifest: Manifest,
  target: string,
): Promise<VariantRecord> {
  if (manifest.content.prepared[chosen.variant]) {
    log(`${dataset.name} was prepared by another version: preparing it again`);
    await manifest.update((content) => {
      delete content.prepared[chosen.variant];
    });
    await rm(target, { recursive: true, force: true });
  }
  const fresh: VariantRecord = { version: dataset.version, options: chosen.options, complete: [], steps: {} };
  await manifest.update((content) => {
    content.prepared[chosen.variant] = fresh;
  });
  return fresh;
}

const isCurrent = (variant: VariantRecord, dataset: ManagedDataset, options: unknown): boolean =>
  variant.version === dataset.version && JSON.stringify(variant.options) === JSON.stringify(options);

/** The dataset as the manifest has it, if all chosen splits are prepared and their files are there. */
export async function readyIn(
  session: Session,
  content: Awaited<ReturnType<typeof readManifest>>,
): Promise<ReadyDataset | null> {
  const { dataset, chosen, folder } = session;
  const variant = content?.prepared[chosen.variant];
  if (!variant || !isCurrent(variant, dataset, chosen.options)) return null;
  if (!chosen.splits.every((split) => variant.complete.includes(split))) return null;
  for (const step of Object.values(variant.steps)) {
    if (!(await isThere(variantFolder(folder, chosen.variant), step))) return null;
  }
  const steps: PreparedStep[] = Object.entries(variant.steps)
    .map(([key, step]) => ({ key, ...step }))
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  return {
    name: dataset.name,
    folder: variantFolder(folder, chosen.variant),
    options: chosen.options,
    splits: chosen.splits,
    steps,
  };
}

function rawPath(dataset: ManagedDataset, files: readonly PresentFile[], name: string): string {
  const file = files.find((one) => one.name === name);
  if (file) return file.path;
  throw new D2vError(`dataset ${dataset.name}: its preparation asks for ${name}, which is none of its files`);
}

/** Errors of the disk as one line. */
export async function explained<T>({ folder }: Session, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw explainCacheError(error, folder, 'what is done so far is kept');
  }
}
