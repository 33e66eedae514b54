import { err } from './colors.js';

/** Exit codes: what the user can mend, how it was called, and what is our own defect. */
export const EXIT = { ok: 0, failure: 1, usage: 2, defect: 70 } as const;

/** An error that belongs to the command line itself. */
export class CliError extends Error {
  readonly userFacing = true;
}

const SYSTEM: Record<string, string> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOENT: 'no such file or folder',
  EISDIR: 'is a folder',
  ENOTDIR: 'is not a folder',
  EMFILE: 'too many open files',
};

/**
 * Prints what went wrong: one line with the remedy for what a user can mend, a stack and where to report it for anything
 * else.
 * @returns the exit code
 */
export function reportFailure(error: unknown, write: (text: string) => void): number {
  const { name, userFacing, message, code, path, stack } = (error ?? {}) as {
    name?: string;
    userFacing?: boolean;
    message?: string;
    code?: string;
    path?: string;
    stack?: string;
  };
  // The loader of the native addon says at some length what to do.
  if (userFacing === true || name === 'NativeLoadError') {
    write(`${err.red('error:')} ${message}\n`);
    return EXIT.failure;
  }
  const system = code === undefined || !Object.hasOwn(SYSTEM, code) ? undefined : SYSTEM[code];
  if (system !== undefined) {
    write(`${err.red('error:')} ${path ? `${path}: ` : ''}${system}\n`);
    return EXIT.failure;
  }
  write(`${err.red('internal error:')} ${stack ?? String(error)}\n`);
  write('This is a defect of d2v. Please report it with the lines above and the output of "d2v doctor".\n');
  return EXIT.defect;
}
