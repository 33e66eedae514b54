/** What a preparation was made from: kept in the manifest, so that nothing of another source is mixed in. */
import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { basename, join, relative, resolve, sep } from 'node:path';
import { mapConcurrent } from '../../data/concurrency.js';
import { D2vError } from '../../errors.js';
import { mismatch } from '../download/checksums.js';
import type { PresentFile } from '../download/files.js';
import { ONLY_SPLIT } from '../options.js';
import type { Session } from '../session.js';
import type { ManifestContent, SourceRecord, VariantRecord } from './manifest.js';

type Sources = Record<string, SourceRecord>;

/** Files whose sizes are asked for at once. */
const CONCURRENT_STATS = 32;

/** What the chosen splits would be prepared from now, by split. */
export async function currentSources({ dataset, given, chosen, log }: Session): Promise<Sources> {
  const sources: Sources = {};
  const from = given.from === undefined ? null : resolve(given.from);
  for (const split of chosen.splits) {
    const inputs = from === null ? [] : ((await dataset.inputs?.(from, split, chosen.options)) ?? []);
    if (from === null || inputs.length === 0) sources[split] = { kind: 'published' };
    else {
      log(`${dataset.name}: looking at what is in ${from}${split === ONLY_SPLIT ? '' : ` for ${split}`}`);
      sources[split] = { kind: 'tree', path: from, ...(await fingerprint(inputs)) };
    }
  }
  return sources;
}

/**
 * Compares them with what the splits were prepared from. What an older release has prepared says nothing of it, and passes.
 * @throws D2vError with the remedy
 */
export function checkSources({ dataset, chosen }: Session, known: Sources | undefined, now: Sources): void {
  for (const split of chosen.splits) {
    const [before, current] = [known?.[split], now[split]!];
    if (!before || (before.kind === current.kind && before.sha256 === current.sha256)) continue;
    const subject = split === ONLY_SPLIT ? 'it' : split;
    const what =
      before.path !== undefined && before.path === current.path
        ? `${before.path} has other files now (${sizeOf(current)}) than when ${subject} was prepared from it (${sizeOf(before)}): put them back`
        : `${subject} was prepared from ${shown(before)}, not from ${shown(current)}: ${before.path === undefined ? 'leave --from out' : `use --from ${before.path}`}`;
    throw new D2vError(
      `${dataset.name}: ${what}, or remove what is prepared ("d2v data rm ${dataset.name}") and prepare it anew`,
    );
  }
}

/**
 * Compares archives with those that the steps that are done were made from.
 * @throws D2vError with the remedy
 */
export function checkArchives(
  { dataset }: Session,
  { raw }: ManifestContent,
  { archives = {} }: VariantRecord,
  files: readonly PresentFile[],
): void {
  for (const { name, path } of files) {
    const [before, now] = [archives[name], raw[name]];
    if (!before || !now) continue;
    if (before.bytes === now.bytes && mismatch(before.checksums, now.checksums) === null) continue;
    throw new D2vError(
      `${dataset.name}: ${path} is another file than the ${name} that its preparation was begun with: put that one back, or remove what is prepared ("d2v data rm ${dataset.name}") and prepare it anew`,
    );
  }
}

const shown = ({ kind, path }: SourceRecord): string =>
  kind === 'tree' ? `the folder ${path}` : 'the published files';
const sizeOf = ({ files, bytes }: SourceRecord): string => `${files} files, ${bytes} bytes`;

/**
 * Number, size and a digest of names and sizes of all files in folders and files; hidden ones do not count. What the folders
 * themselves are called does not matter.
 */
async function fingerprint(
  inputs: readonly string[],
): Promise<Pick<SourceRecord, 'files' | 'bytes' | 'sha256'>> {
  const found: [name: string, path: string][] = [];
  for (const input of inputs) {
    if (!(await stat(input)).isDirectory()) found.push([basename(input), input]);
    else {
      for (const entry of await readdir(input, { recursive: true, withFileTypes: true })) {
        if (entry.isDirectory() || entry.name.startsWith('.')) continue;
        const path = join(entry.parentPath, entry.name);
        found.push([relative(input, path).split(sep).join('/'), path]);
      }
    }
  }
  found.sort(([a], [b]) => (a < b ? -1 : 1));
  const sizes = await mapConcurrent(found, CONCURRENT_STATS, async ([, path]) => (await stat(path)).size);
  const hash = createHash('sha256');
  for (const [i, [name]] of found.entries()) hash.update(`${name}\0${sizes[i]}\n`);
  return {
    files: found.length,
    bytes: sizes.reduce((sum, size) => sum + size, 0),
    sha256: hash.digest('hex'),
  };
}
