/**
 * Which samples are held out when the data has no split of its own.
 *
 * A sample's place follows from its name alone: the first 32 bits of the SHA-256 of the name, as a fraction of 2^32,
 * are below the held-out share or not. So it does not depend on the platform, on the order of files or on which other
 * samples there are: adding images never moves one from training to evaluation or back.
 */
import { hash } from 'node:crypto';

/** Whether the sample of this name is held out. Names are compared in Unicode NFC, with `/` between folders. */
export function isHeldOut(name: string, share: number): boolean {
  // In one call, in hexadecimal: a million names take half a second, a fifth of what hash objects take.
  const digest = hash('sha256', name.normalize('NFC'), 'hex');
  return Number.parseInt(digest.slice(0, 8), 16) / 2 ** 32 < share;
}

/** What held-out parts are called, the usual ones first; the first one that is there is taken. */
export const HELD_OUT_NAMES = ['val', 'valid', 'validation', 'dev', 'test'] as const;
const TRAINING_NAMES = ['train', 'training'];

/**
 * Training and held-out files by words in their names: `set-train-000.tar` and `set-val-000.tar`, but not `evaluate.tar`. A test
 * part is held out only where there is no other; files of neither are left out.
 * @returns null unless there are both
 */
export function dividedByName<T>(
  files: readonly T[],
  nameOf: (file: T) => string,
): { train: T[]; valid: T[] } | null {
  const words = files.map(
    (file) =>
      new Set(
        nameOf(file)
          .toLowerCase()
          .split(/[^a-z]+/),
      ),
  );
  const having = (names: readonly string[]) =>
    files.filter((_, i) => names.some((name) => words[i]!.has(name)));
  const train = having(TRAINING_NAMES);
  const validation = having(HELD_OUT_NAMES.filter((name) => name !== 'test'));
  const valid = validation.length > 0 ? validation : having(['test']);
  return train.length > 0 && valid.length > 0 ? { train, valid } : null;
}
