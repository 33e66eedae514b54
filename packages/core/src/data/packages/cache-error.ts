import { D2vError } from '../../errors.js';

/**
 * Turns a failed read or write of a prepared dataset into one line with the remedy; other errors come back unchanged.
 * @param cacheDir `OpenDataOptions.cacheDir`
 */
export function explainCacheError(error: unknown, cacheDir: string): unknown {
  if (error instanceof D2vError) return error;
  const code = (error as NodeJS.ErrnoException | null)?.code;
  if (code === 'ENOSPC')
    return new D2vError(`the disk of ${cacheDir} is full: make room, or set D2V_DATA to another folder`);
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS' || code === 'ENOTDIR' || code === 'EEXIST') {
    const why = code === 'EROFS' ? `${code}: it is read-only` : code;
    return new D2vError(`cannot use ${cacheDir} (${why}): set D2V_DATA to a folder that you can write to`, {
      cause: error,
    });
  }
  return error;
}
