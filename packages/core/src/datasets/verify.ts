import { access, constants, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { D2vError } from '../errors.js';
import { errorCode } from '../training/fs-errors.js';
import { checksumFile, mismatch, wantedAlgorithms } from './download/checksums.js';
import { changeTime, fileSize, inside, rawFolder, variantFolder } from './folder/folder.js';
import { Manifest, readManifest } from './folder/manifest.js';
import { strike } from './folder/steps.js';
import { splitNames } from './options.js';
import { explained } from './prepare.js';
import { type Session, startSession } from './session.js';
import type { Checksums, DatasetOptions, ManagedDataset } from './types.js';

/** What `d2v data verify` has found. */
export interface VerifyReport {
  /** Files and bytes that were read. */
  files: number;
  bytes: number;
  /**
   * Prepared files and downloads that are missing or differ from their checksums; folders of prepared files that are not
   * complete since an earlier run has found such.
   */
  problems: { kind: 'raw' | 'prepared'; file: string; problem: string }[];
}

/**
 * Compares all files of a dataset, raw and prepared, with their checksums. What is missing or damaged is struck off the
 * manifest (and a damaged download removed), so that the next `prepareDataset` makes it again, and nothing else. A folder that
 * cannot be written is compared without a lock, and left as it is.
 * @throws D2vError in one line with the remedy, also when nothing is here of the dataset
 */
export async function verifyDataset(
  dataset: ManagedDataset,
  given: DatasetOptions = {},
): Promise<VerifyReport> {
  const session = startSession(dataset, given);
  return explained(session, async () => {
    if (!(await readManifest(session.folder))) throw await nothingHere(session);
    const work = async (writable: boolean) => {
      const manifest = await Manifest.open(session.folder, dataset.name, dataset.license, writable);
      const report: VerifyReport = { files: 0, bytes: 0, problems: [] };
      await verifyRaw(session, manifest, report);
      await verifyPrepared(session, manifest, report);
      if (report.files === 0 && report.problems.length === 0) throw await nothingHere(session);
      return report;
    };
    if (await isWritable(session.folder)) return session.locked(() => work(true));
    session.log(`${session.folder} cannot be written: its files are compared, and nothing is struck off`);
    return work(false);
  });
}

async function nothingHere({ dataset, folder }: Session): Promise<D2vError> {
  const stray = await readdir(join(folder, 'prepared')).catch(() => []);
  const why =
    stray.length > 0
      ? `dataset.json has no record of what lies in ${join(folder, 'prepared')}, which cannot be checked`
      : `nothing is here of ${dataset.name}`;
  return new D2vError(`${why}: d2v data prepare ${dataset.name}`);
}

/** Whether this user could take the lock: of a folder that others share, or on a read-only disk, the files can still be compared. */
const isWritable = (folder: string): Promise<boolean> =>
  access(folder, constants.W_OK).then(
    () => true,
    (error: unknown) => {
      if (['EACCES', 'EROFS', 'EPERM'].includes(errorCode(error) ?? '')) return false;
      throw error;
    },
  );

async function verifyRaw(session: Session, manifest: Manifest, report: VerifyReport): Promise<void> {
  for (const [name, record] of Object.entries(manifest.content.raw)) {
    const path = record.path ?? inside(rawFolder(session.folder), name);
    const changed = (await fileSize(path)) === null ? undefined : await changeTime(path);
    const problem = await check(session, path, name, record.bytes, record.checksums, report);
    if (problem === null) {
      await manifest.update(() => {
        record.changed = changed;
      });
      continue;
    }
    // Removing raw files is a way to save space, not damage.
    if (problem !== MISSING) {
      const ours = record.path === undefined && manifest.writable;
      report.problems.push({
        kind: 'raw',
        file: path,
        problem: `${problem}: ${ours ? 'it is removed' : 'replace it'}`,
      });
      if (ours) await rm(path, { force: true });
    }
    await manifest.update((content) => {
      delete content.raw[name];
    });
  }
}

async function verifyPrepared(session: Session, manifest: Manifest, report: VerifyReport): Promise<void> {
  for (const [variantName, variant] of Object.entries(manifest.content.prepared)) {
    const folder = variantFolder(session.folder, variantName);
    for (const split of variant.struck ?? [])
      report.problems.push({
        kind: 'prepared',
        file: folder,
        problem: `the split ${split} is not complete: damaged files of an earlier check are still to be made again`,
      });
    if (variant.complete.length === 0 && !variant.struck?.length)
      report.problems.push({ kind: 'prepared', file: folder, problem: 'its preparation is not finished' });
    for (const [key, step] of Object.entries(variant.steps)) {
      let damaged = false;
      for (const { name, bytes, sha256 } of step.files) {
        const path = inside(folder, name);
        const problem = await check(session, path, name, bytes, { sha256 }, report);
        if (problem !== null) report.problems.push({ kind: 'prepared', file: path, problem });
        damaged ||= problem !== null;
      }
      if (damaged) await strike(manifest, variant, key, splitNames(session.dataset));
    }
  }
}

const MISSING = 'it is missing';

async function check(
  session: Session,
  path: string,
  item: string,
  bytes: number,
  checksums: Checksums,
  report: VerifyReport,
): Promise<string | null> {
  const size = await fileSize(path);
  if (size === null) return MISSING;
  if (size !== bytes) return `it has ${size} bytes instead of ${bytes}`;
  const actual = await checksumFile(
    path,
    wantedAlgorithms(checksums).slice(0, 1),
    (done, total) => session.emit({ type: 'progress', phase: 'verify', item, done, total, unit: 'bytes' }),
    session.signal,
  );
  report.files++;
  report.bytes += size;
  return mismatch(checksums, actual.checksums);
}
