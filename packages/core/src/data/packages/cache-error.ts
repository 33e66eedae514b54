import { D2vError } from '../../errors.js';
import { errorCode } from '../../training/fs-errors.js';

/** What a folder that cannot be used answers. */
const UNUSABLE = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EISDIR', 'EEXIST', 'EIO']);

/**
 * Turns a failed read or write of a downloaded or prepared dataset into one line with the remedy; other errors come back unchanged.
 * @param folder where it is, e.g. `OpenDataOptions.cacheDir`
 * @param kept what is not lost when the disk is full, as a clause
 */
export function explainCacheError(error: unknown, folder: string, kept?: string): unknown {
  const code = errorCode(error);
  if (error instanceof D2vError || code === undefined) return error;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    const what = kept === undefined ? 'is full' : `is full; ${kept}`;
    return new D2vError(
      `the disk of ${folder} ${what}: make room and repeat the command, or set D2V_DATA to another folder`,
      { cause: error },
    );
  }
  if (UNUSABLE.has(code)) {
    const why = code === 'EROFS' ? `${code}: it is read-only` : code;
    return new D2vError(`cannot use ${folder} (${why}): set D2V_DATA to a folder that you can write to`, {
      cause: error,
    });
  }
  return error;
}
