import { readdir, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { D2vError } from '../errors.js';
import { exists } from '../exists.js';
import { CheckpointStore } from './checkpoint-store.js';
import type { FolderLock } from './folder-lock.js';
import { explainWriteError } from './fs-errors.js';
import { makeFolder } from './make-folder.js';
import { lockRun } from './run-lock.js';

/** Names inside a run folder. */
export const METRICS_FILE = 'metrics.jsonl';
export const CURVES_FILE = 'curves.html';
export const TENSORBOARD_FOLDER = 'tensorboard';

/** Leftovers of processes that died between two steps; young ones may belong to a process that is just starting. */
const LEFTOVER = /\.(tmp-\d+-[0-9a-f]+|stale-[0-9a-f]+)$|^\.lock\.[0-9a-f]+$/;
const LEFTOVER_AGE_MS = 60_000;

/** A run folder that this process has locked. */
export class RunFolder {
  private constructor(
    readonly path: string,
    readonly store: CheckpointStore,
    /** The update to go on from, or null for a new run. */
    readonly resumeFrom: number | null,
    private readonly lock: FolderLock,
    /** The topmost folder that was made for it, if any. */
    private readonly made: string | undefined,
  ) {}

  /**
   * Makes the folder if needed, locks it and clears away what killed processes left.
   * @param resume go on from the last checkpoint; otherwise the folder must hold none
   * @throws D2vError when it is in use, cannot be written, or does not fit `resume`
   */
  static async open(path: string, options: { resume: boolean; keep: number }): Promise<RunFolder> {
    if (options.resume && !(await exists(path))) {
      throw new D2vError(`there is no run to resume in ${path}: the folder does not exist`);
    }
    let made: string | undefined;
    try {
      made = await makeFolder(path);
    } catch (error) {
      throw await explainWriteError(error, 'the run folder', path);
    }
    const lock = await lockRun(path);
    try {
      const store = new CheckpointStore(join(path, 'checkpoints'), options.keep);
      await removeLeftovers(path);
      await store.clean();
      const last = await store.resolve('last');
      if (options.resume && last === null) {
        throw new D2vError(
          `there is no checkpoint to resume from in ${path}; start the run without --resume`,
        );
      }
      if (!options.resume && last !== null) {
        throw new D2vError(
          `${path} holds a run already (checkpoint ${last}): continue it with --resume, or choose another folder with --run`,
        );
      }
      return new RunFolder(path, store, last, lock, made);
    } catch (error) {
      await lock.release();
      throw await explainWriteError(error, 'the run folder', path);
    }
  }

  file(name: string): string {
    return join(this.path, name);
  }

  /** Unlocks it. Folders that were made for a run that then did not start (nothing is in them) are taken away again. */
  async close(): Promise<void> {
    await this.lock.release();
    if (this.made === undefined) return;
    const top = resolve(this.made);
    try {
      for (let folder = resolve(this.path); ; folder = dirname(folder)) {
        await rmdir(folder);
        if (folder === top) return;
      }
    } catch {
      // Not empty: it holds a run.
    }
  }
}

async function removeLeftovers(path: string): Promise<void> {
  for (const name of await readdir(path)) {
    if (!LEFTOVER.test(name)) continue;
    const file = join(path, name);
    const age = Date.now() - ((await stat(file).catch(() => null))?.mtimeMs ?? 0);
    if (age > LEFTOVER_AGE_MS) await rm(file, { force: true });
  }
}
