import { mkdir, readdir, readFile, readlink, rename, rm, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { D2vError } from '../errors.js';
import { exists } from '../exists.js';
import { syncFolder, temporarySuffix, writeFileAtomic } from './atomic-file.js';
import { errorCode, explainWriteError } from './fs-errors.js';

export type CheckpointPointer = 'last' | 'best';

const POINTERS: readonly CheckpointPointer[] = ['last', 'best'];
const TEMPORARY = /\.(tmp|old|trash)-/;
const UPDATE = /^\d+$/;

/**
 * The `checkpoints` folder of a run: one folder per checkpoint, named by its update, and the pointers `last` and `best`
 * (symbolic links; files that hold the name where links are not possible). A checkpoint appears under its name complete
 * and flushed to the disk, or not at all.
 */
export class CheckpointStore {
  constructor(
    /** The `checkpoints` folder. */
    readonly folder: string,
    /** How many of the newest are kept; those that `last` and `best` point to always are. */
    private readonly keep = Number.POSITIVE_INFINITY,
  ) {}

  /** Removes what killed processes left: unfinished and half-deleted checkpoints. Call with the run's lock held. */
  async clean(): Promise<void> {
    for (const name of await this.names()) {
      if (TEMPORARY.test(name)) await rm(join(this.folder, name), { recursive: true, force: true });
    }
  }

  /** Updates of the checkpoints there are, in ascending order. */
  async list(): Promise<number[]> {
    const names = await this.names();
    return names
      .filter((name) => UPDATE.test(name))
      .map(Number)
      .sort((a, b) => a - b);
  }

  /** The update that a pointer names, or null. A `last` that is lost is the newest checkpoint. */
  async resolve(pointer: CheckpointPointer): Promise<number | null> {
    const name = await readPointer(join(this.folder, pointer));
    const updates = await this.list();
    if (name !== null && updates.includes(Number(name))) return Number(name);
    return pointer === 'last' ? (updates.at(-1) ?? null) : null;
  }

  path(update: number): string {
    return join(this.folder, String(update));
  }

  /**
   * Saves a checkpoint.
   * @param write fills an empty folder; every file must be flushed to the disk when it returns
   * @param best also let `best` point to it
   * @throws D2vError when the disk is full, not writable ...; earlier checkpoints and pointers are then as before
   */
  async save(update: number, best: boolean, write: (folder: string) => Promise<void>): Promise<void> {
    const temporary = join(this.folder, `${update}.${temporarySuffix()}`);
    try {
      await mkdir(temporary, { recursive: true });
      await write(temporary);
      await syncFolder(temporary);
      await this.publish(temporary, update);
      await this.point('last', update);
      if (best) await this.point('best', update);
    } catch (error) {
      await rm(temporary, { recursive: true, force: true }).catch(() => undefined);
      const previous = await this.resolve('last').catch(() => null);
      const safe = previous === null ? undefined : `checkpoint ${previous} is untouched`;
      throw await explainWriteError(error, `checkpoint ${update}`, this.folder, safe);
    }
    await this.prune();
  }

  /** Gives the finished folder its name. One that an interrupted run left under it, before `last` moved, gives way. */
  private async publish(temporary: string, update: number): Promise<void> {
    const target = this.path(update);
    if (await exists(target))
      await rename(target, join(this.folder, `${update}.${temporarySuffix().replace('tmp', 'old')}`));
    await rename(temporary, target);
    await syncFolder(this.folder);
    await this.clean();
  }

  private async point(pointer: CheckpointPointer, update: number): Promise<void> {
    const path = join(this.folder, pointer);
    const draft = `${path}.${temporarySuffix()}`;
    try {
      await symlink(String(update), draft, 'dir');
      await rename(draft, path);
      await syncFolder(this.folder);
    } catch (error) {
      await rm(draft, { force: true });
      if (!NO_SYMLINKS.has(errorCode(error) ?? '')) throw error;
      await writeFileAtomic(path, `${update}\n`);
    }
  }

  /** Deletes the oldest checkpoints beyond the number to keep, never one that a pointer names. */
  private async prune(): Promise<void> {
    const pointed = new Set<number | null>();
    for (const pointer of POINTERS) pointed.add(await this.resolve(pointer));
    const updates = await this.list();
    const old = updates.slice(0, Math.max(0, updates.length - this.keep));
    for (const update of old.filter((one) => !pointed.has(one))) {
      // Renamed first: a checkpoint that is half deleted must not look like one.
      const trash = join(this.folder, `${update}.${temporarySuffix().replace('tmp', 'trash')}`);
      await rename(this.path(update), trash);
      await rm(trash, { recursive: true, force: true });
    }
  }

  private async names(): Promise<string[]> {
    try {
      return await readdir(this.folder);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return [];
      throw new D2vError(`cannot read the checkpoints in ${this.folder} (${errorCode(error)})`, {
        cause: error,
      });
    }
  }
}

/** What symbolic links fail with on Windows without the right, and on file systems that have none. */
const NO_SYMLINKS = new Set(['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EINVAL', 'EISDIR']);

async function readPointer(path: string): Promise<string | null> {
  try {
    return await readlink(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
  }
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch {
    return null;
  }
}

/**
 * The checkpoint folder that a path given by a user means: a checkpoint folder itself, a pointer, or a run folder.
 * @throws D2vError when there is none
 */
export async function findCheckpoint(path: string, which: CheckpointPointer = 'last'): Promise<string> {
  if (await exists(join(path, 'model.safetensors'))) return path;
  const pointed = await readPointer(path);
  if (pointed !== null && UPDATE.test(pointed) && (await exists(join(path, '..', pointed)))) {
    return join(path, '..', pointed);
  }
  if ((await stat(path).catch(() => null))?.isFile()) {
    throw new D2vError(
      `${path} is no model: give a run folder, a checkpoint folder or a model.safetensors file`,
    );
  }
  const store = new CheckpointStore(join(path, 'checkpoints'));
  const update = await store.resolve(which);
  if (update !== null) return store.path(update);
  if (which === 'best' && (await store.resolve('last')) !== null) {
    throw new D2vError(
      `${path} has no best checkpoint: scores of features choose it, so train with eval.interval_updates set (or checkpoint.best_checkpoint_metric); there is the last one`,
    );
  }
  throw new D2vError(
    `${path} holds no checkpoint: give a run folder, a checkpoint folder or a model.safetensors file`,
  );
}
