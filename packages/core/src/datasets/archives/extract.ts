import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { inside } from '../folder/folder.js';
import { ArchiveError, checkPortable } from './limits.js';
import type { ArchiveEntry } from './tar.js';

/**
 * Writes entries below a folder, which should be new: a file that is there already is an error. Names that some system could not
 * hold, or could not tell apart (`A.txt`, `a.txt`), are refused on every system.
 * @param entries of a reader without `wanted`, so that all of them are judged
 * @param rename the name below the folder, or null to leave an entry out
 * @returns number of files and bytes
 * @throws ArchiveError naming the entry
 */
export async function extractEntries(
  entries: AsyncIterable<ArchiveEntry>,
  folder: string,
  rename: (entry: ArchiveEntry) => string | null = ({ name }) => name,
): Promise<{ files: number; bytes: number }> {
  const total = { files: 0, bytes: 0 };
  const made = new Set<string>();
  const names = new Map<string, string>();
  for await (const entry of entries) {
    const name = rename(entry);
    if (name === null) continue;
    const path = inside(folder, name);
    checkPortable(name, folder);
    const folded = name.normalize('NFC').toUpperCase().toLowerCase();
    const other = names.get(folded);
    if (other !== undefined) {
      throw new ArchiveError(
        folder,
        name,
        `differs from ${JSON.stringify(other)} only in case, which Windows and macOS do not tell apart`,
      );
    }
    names.set(folded, name);
    const parent = dirname(path);
    if (!made.has(parent)) await mkdir(parent, { recursive: true });
    made.add(parent);
    await pipeline(entry.body(), createWriteStream(path, { flags: 'wx' }));
    total.files++;
    total.bytes += entry.bytes;
  }
  return total;
}
