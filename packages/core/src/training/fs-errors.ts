import { statfs } from 'node:fs/promises';
import { D2vError } from '../errors.js';

/** `code` of a Node file-system error, if it is one. */
export function errorCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}

/**
 * Turns a failed write into one clear line: what could not be written, why, and what to do.
 *
 * @param error what was thrown; anything that is not a known file-system error is returned unchanged
 * @param what what was being written, e.g. `checkpoint 2000`
 * @param path where
 * @param consolation what is still safe, e.g. `checkpoint 1000 is untouched`
 */
export async function explainWriteError(
  error: unknown,
  what: string,
  path: string,
  consolation?: string,
): Promise<unknown> {
  const cause = await reason(error, path);
  if (!cause) return error;
  const tail = consolation ? ` (${consolation})` : '';
  return new D2vError(`cannot write ${what} in ${path}: ${cause}${tail}`, { cause: error });
}

async function reason(error: unknown, path: string): Promise<string | undefined> {
  switch (errorCode(error)) {
    case 'ENOSPC':
      return `the disk is full, ${await freeSpace(path)}; make room or lower checkpoint.keep_interval_updates, then resume`;
    case 'EDQUOT':
      return 'your disk quota is used up; make room, then resume';
    case 'EROFS':
      return 'the file system is read-only; choose another folder with --run';
    case 'EACCES':
    case 'EPERM':
      return 'permission denied; make the folder writable or choose another with --run';
    case 'ENOTDIR':
    case 'EEXIST':
      return 'a file stands where a folder is needed; choose another folder with --run';
    case 'EIO':
      return 'the disk reported an input/output error';
    default:
      return undefined;
  }
}

async function freeSpace(path: string): Promise<string> {
  const free = await freeBytes(path);
  return free === undefined ? 'free space unknown' : `${formatBytes(free)} free`;
}

/** Bytes that this user can still write where `path` is; undefined where the system does not tell. */
export async function freeBytes(path: string): Promise<number | undefined> {
  try {
    const stat = await statfs(path);
    return stat.bavail * stat.bsize;
  } catch {
    return undefined;
  }
}

/** `1.5 GB` and the like, powers of 1024. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}
