/** The raw files of a dataset: which are needed, which are there, and downloading the others. */
import { stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { D2vError } from '../../errors.js';
import { formatBytes } from '../../training/fs-errors.js';
import { changeTime, fileSize, inside, rawFolder } from '../folder/folder.js';
import type { Manifest, RawRecord } from '../folder/manifest.js';
import type { Session } from '../session.js';
import type { DatasetFile } from '../types.js';
import { checksumFile, mismatch, wantedAlgorithms } from './checksums.js';
import { checkSpace, download } from './download.js';
import { fetchText } from './fetch-text.js';
import { partOf } from './part-file.js';
import { RateLimiter } from './rate-limit.js';
import { acceptTerms, showTerms } from './terms.js';
import { checkUrl, joinUrl } from './url.js';

/** A raw file that is there, complete and verified. */
export type PresentFile = DatasetFile & { path: string };

/**
 * Brings all raw files of the chosen splits here. The caller has the lock.
 * @param preparedBytes what the preparation that follows will take beside these files, for the check of the disk
 */
export async function bringFiles(
  session: Session,
  manifest: Manifest,
  preparedBytes: (files: readonly DatasetFile[]) => number = () => 0,
): Promise<PresentFile[]> {
  const { dataset, given, chosen, folder, log } = session;
  // Before terms are accepted and lists asked for: nothing comes of a wrong one.
  if (given.mirror !== undefined) checkUrl(given.mirror, session.mirrorSource);
  showTerms(session, manifest);
  const files = await publishedFiles(session, manifest);
  const there = new Map<string, string>();
  const missing: DatasetFile[] = [];
  for (const file of files) {
    const path = await present(session, manifest, file);
    if (path === null) missing.push(file);
    else there.set(file.name, path);
  }
  if (missing.length > 0) {
    if (given.offline) throw notThere(session, missing[0]!, 'the network is not to be used (offline)');
    await acceptTerms(session, manifest);
  }
  const bytes = await bytesToCome(folder, missing);
  const what = `${dataset.name} (${chosen.splits.join(', ')})`;
  await checkSpace(folder, bytes + preparedBytes(files), what);
  if (missing.length > 0) {
    log(
      `downloading ${missing.length} of ${files.length} files of ${what}${bytes > 0 ? `, ${formatBytes(bytes)}` : ''}`,
    );
    const limiter = new RateLimiter(given.limitRate ?? Infinity);
    for (const file of missing) there.set(file.name, await bring(session, manifest, file, limiter));
  }
  return files.map((file) => ({ ...file, path: there.get(file.name)! }));
}

/** What is published of the chosen splits; without network, what was known the last time. */
async function publishedFiles(session: Session, manifest: Manifest): Promise<readonly DatasetFile[]> {
  const { dataset, given, chosen } = session;
  const key = `${chosen.variant}: ${chosen.splits.join(',')}`;
  const known = manifest.content.published[key];
  if (given.offline && known && !given.from) return known as DatasetFile[];
  const files = await dataset.files({
    options: chosen.options,
    splits: chosen.splits,
    from: given.from ?? null,
    mirror: given.mirror ?? null,
    fetchText: async (url) => {
      if (given.offline) {
        throw new D2vError(
          `the list of files of ${dataset.name} is not known yet: allow the network once (without --offline)`,
        );
      }
      await acceptTerms(session, manifest);
      return fetchText(url, { ...transferSettings(session), signal: session.signal });
    },
  });
  for (const { name } of files) inside(rawFolder(session.folder), name);
  const twice = files.find((file, i) => files.findIndex(({ name }) => name === file.name) < i);
  if (twice) throw new D2vError(`dataset ${dataset.name}: it states the file ${twice.name} twice`);
  if (!given.from && JSON.stringify(files) !== JSON.stringify(known)) {
    await manifest.update((content) => {
      content.published[key] = files.map((file) => ({
        ...file,
        urls: [...file.urls],
        splits: file.splits && [...file.splits],
      }));
    });
  }
  return files;
}

/**
 * Where a file is, if it is there and known to be right. Files that somebody has put there are verified first, and so are those
 * that were changed since they were verified.
 */
async function present(session: Session, manifest: Manifest, file: DatasetFile): Promise<string | null> {
  const { folder, given, dataset } = session;
  const own = inside(rawFolder(folder), file.name);
  const record = manifest.content.raw[file.name];
  const wanted = wantedAlgorithms(file.checksums);
  const agrees =
    record &&
    (file.bytes ?? record.bytes) === record.bytes &&
    mismatch(file.checksums, record.checksums) === null;
  const placed = given.from ? await findIn(resolve(given.from), file.name) : null;
  let recorded: string | null = null;
  if (record && agrees) {
    const path = record.path ?? own;
    // Without published checksums, the user's file counts, not the one that was there before.
    const another = placed !== null && placed !== path && file.checksums === undefined;
    if (!another && (await isUnchanged(path, record))) return path;
    if (!another) recorded = path;
  }
  for (const path of new Set([own, recorded, placed])) {
    const size = path === null ? null : await fileSize(path);
    if (path === null || size === null) continue;
    const changed = await changeTime(path);
    // Of a download without published checksums, those that it came with count.
    const expected =
      file.checksums ?? (record && path === own && !record.path ? record.checksums : undefined);
    let wrong =
      file.bytes !== undefined && size !== file.bytes
        ? `it has ${size} bytes, published are ${file.bytes}`
        : null;
    if (wrong === null) {
      const { bytes, checksums } = await checksumFile(
        path,
        wanted,
        (done, total) =>
          session.emit({ type: 'progress', phase: 'verify', item: file.name, done, total, unit: 'bytes' }),
        session.signal,
      );
      wrong = mismatch(expected, checksums);
      if (wrong === null) {
        const url = path === own ? record?.url : undefined;
        const where = path === own ? url !== undefined && { url } : { path };
        await remember(manifest, file.name, { bytes, checksums, ...where, changed });
        return path;
      }
    }
    if (path === placed) {
      throw new D2vError(
        `${path} is not the published ${file.name} of ${dataset.name}: ${wrong}; replace or remove it`,
      );
    }
    session.warn(`${path} is damaged (${wrong}): it is downloaded again`);
  }
  return null;
}

async function bring(
  session: Session,
  manifest: Manifest,
  file: DatasetFile,
  limiter: RateLimiter,
): Promise<string> {
  const { folder, given } = session;
  const path = inside(rawFolder(folder), file.name);
  const urls = given.mirror ? [joinUrl(given.mirror, file.mirrorPath ?? file.name)] : file.urls;
  if (urls.length === 0) throw notThere(session, file, 'no address is known for it');
  const { bytes, checksums, url } = await download(
    { urls, path, bytes: file.bytes, checksums: file.checksums },
    {
      ...transferSettings(session),
      limiter,
      onProgress: (done, total) =>
        session.emit({ type: 'progress', phase: 'download', item: file.name, done, total, unit: 'bytes' }),
      onRetry: session.warn,
      signal: session.signal,
    },
  );
  await remember(manifest, file.name, { bytes, checksums, url, changed: await changeTime(path) });
  return path;
}

/** Whether a file is as it was when it was verified, by its size and time of change: reading 150 GB once more takes minutes. */
async function isUnchanged(path: string, { bytes, changed }: RawRecord): Promise<boolean> {
  return (await fileSize(path)) === bytes && (await changeTime(path)) === changed;
}

/**
 * For after the reading: what was changed meanwhile must not end up in what is prepared.
 * @throws D2vError naming the file that is no longer the one that was verified
 */
export async function checkUnchanged(files: readonly PresentFile[], manifest: Manifest): Promise<void> {
  for (const { name, path } of files) {
    if (await isUnchanged(path, manifest.content.raw[name]!)) continue;
    throw new D2vError(
      `${path} was changed while it was being read: see that nothing writes to it, and repeat the command (it is verified again)`,
    );
  }
}

function transferSettings({ dataset, given, chosen }: Session) {
  const access = typeof dataset.access === 'function' ? dataset.access(chosen.options) : dataset.access;
  const fromEnv = access?.tokenEnv?.map((name) => process.env[name]).find((value) => value);
  // A mirror is another host: it gets the token that was meant for it, not the one of the environment.
  const token = given.token ?? (given.mirror ? undefined : fromEnv);
  return {
    connections: given.connections,
    retries: given.retries,
    stallSeconds: given.stallSeconds,
    backoffScale: given.backoffScale,
    token,
    howTo: access?.howTo ?? null,
  };
}

const remember = (manifest: Manifest, name: string, record: RawRecord) =>
  manifest.update((content) => {
    content.raw[name] = record;
  });

/** A file of `--from`: under its whole name, or right in the folder. */
async function findIn(folder: string, name: string): Promise<string | null> {
  const info = await stat(folder).catch(() => null);
  if (!info?.isDirectory()) throw new D2vError(`--from ${folder}: no such folder`);
  for (const path of [join(folder, name), join(folder, basename(name))]) {
    if ((await fileSize(path)) !== null) return path;
  }
  return null;
}

/** What is still to be downloaded, as far as sizes are known; unfinished files count with what they take already. */
async function bytesToCome(folder: string, files: readonly DatasetFile[]): Promise<number> {
  let total = 0;
  for (const { name, bytes = 0 } of files) {
    const part = await stat(partOf(inside(rawFolder(folder), name))).catch(() => null);
    total += Math.max(0, bytes - (part?.blocks ?? 0) * 512);
  }
  return total;
}

function notThere({ dataset, folder, given }: Session, file: DatasetFile, why: string): D2vError {
  const [where, another] =
    given.from === undefined ? ['here', 'a'] : [`in ${resolve(given.from)} (--from) nor here,`, 'another'];
  return new D2vError(
    `${file.name} of ${dataset.name} is not ${where} and ${why}: put it into ${rawFolder(folder)}, or name ${another} folder that holds it with --from`,
  );
}
