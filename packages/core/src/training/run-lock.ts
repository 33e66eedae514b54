import { hostname } from 'node:os';
import { basename } from 'node:path';
import { D2vError } from '../errors.js';
import { FolderLock, LOCK_FILE, type LockOwner } from './folder-lock.js';
import { explainWriteError } from './fs-errors.js';

/** Keeps a run folder to one process. @throws D2vError when another living process has it, or when it cannot be written */
export async function lockRun(runDir: string): Promise<FolderLock> {
  const lock = await FolderLock.acquire(runDir, 'run folder').catch(async (error: unknown) => {
    throw await explainWriteError(error, 'the lock of the run folder', runDir);
  });
  if (lock instanceof FolderLock) return lock;
  throw busy(runDir, lock);
}

function busy(runDir: string, owner: LockOwner): D2vError {
  const elsewhere =
    owner.host === hostname()
      ? 'stop it first, or choose another folder with --run'
      : `if that run is dead, delete ${LOCK_FILE} in the folder; otherwise choose another with --run`;
  return new D2vError(
    `the run folder ${basename(runDir)} is in use by process ${owner.pid} on ${owner.host} since ${owner.started}: ${elsewhere}`,
  );
}
