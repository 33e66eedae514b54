/** Reading files out of a package's tarball in memory: nothing is written to disk, so no path in it can do harm. */
import { list, type ReadEntry } from 'tar';
import { D2vError } from '../../errors.js';

/** Largest sum of the files that are kept. */
const MAX_TOTAL = 512 << 20;

/**
 * Reads the files of a gzipped tarball whose path, without the leading folder (`package/`), satisfies `wanted`.
 * @throws D2vError if it is damaged or the files are larger than any of our datasets
 */
export async function readTarball(
  file: string,
  wanted: (path: string) => boolean,
): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  const pending: Promise<unknown>[] = [];
  let total = 0;
  const inside = (path: string) => path.slice(path.indexOf('/') + 1);
  const onReadEntry = (entry: ReadEntry) => {
    total += entry.size;
    if (total > MAX_TOTAL) throw new D2vError(`${file}: more than ${MAX_TOTAL >> 20} MB of data`);
    pending.push(entry.concat().then((bytes: Buffer) => files.set(inside(entry.path), bytes)));
  };
  await list({
    file,
    strict: true,
    filter: (path, entry) => 'type' in entry && entry.type === 'File' && wanted(inside(path)),
    onReadEntry,
  });
  await Promise.all(pending);
  return files;
}
