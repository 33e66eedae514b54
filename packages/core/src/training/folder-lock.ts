import { randomBytes } from 'node:crypto';
import { readFileSync, unlinkSync } from 'node:fs';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { D2vError } from '../errors.js';
import { errorCode } from './fs-errors.js';

export const LOCK_FILE = '.lock';
/** Two processes that find the same dead lock: the slower one needs this long to see that it has lost. */
const SETTLE_MS = 40;

/** Who has a folder. */
export interface LockOwner {
  pid: number;
  host: string;
  /** Tells a reused process number from the process that took the lock, where the system has it. */
  birth: string | null;
  started: string;
  token: string;
}

/** Keeps a folder to one process. Freed by `release()`; a dead owner's lock is taken over by the next process. */
export class FolderLock {
  private released = false;
  private readonly onExit = () => this.releaseSync();

  private constructor(
    private readonly path: string,
    private readonly token: string,
  ) {
    process.once('exit', this.onExit);
  }

  /**
   * The lock, or the living process that has it.
   * @param what for messages, e.g. `run folder`
   * @throws D2vError when other processes keep it busy; file-system errors as they are: what to do about the folder is the caller's to say
   */
  static async acquire(folder: string, what: string): Promise<FolderLock | LockOwner> {
    const path = join(folder, LOCK_FILE);
    const mine: LockOwner = {
      pid: process.pid,
      host: hostname(),
      birth: processBirth(process.pid),
      started: new Date().toISOString(),
      token: randomBytes(8).toString('hex'),
    };
    for (let attempt = 0; attempt < 5; attempt++) {
      if (await create(path, mine)) {
        const lock = new FolderLock(path, mine.token);
        if (attempt === 0 || (await lock.stillOwned())) return lock;
        lock.forget();
        continue;
      }
      const other = await read(path);
      if (other === undefined) continue;
      if (other !== null && isAlive(other)) return other;
      await removeStale(path, other);
    }
    throw new D2vError(`cannot lock the ${what} ${folder}: other processes are starting in it; try again`);
  }

  /** Frees the folder. Harmless when called twice. */
  async release(): Promise<void> {
    this.releaseSync();
  }

  private releaseSync(): void {
    if (this.released) return;
    this.forget();
    try {
      const content = parse(readFileSync(this.path, 'utf8'));
      if (content?.token === this.token) unlinkSync(this.path);
    } catch {
      // The folder is gone or read-only: a lock of a dead process is taken over anyway.
    }
  }

  private forget(): void {
    this.released = true;
    process.removeListener('exit', this.onExit);
  }

  private async stillOwned(): Promise<boolean> {
    await sleep(SETTLE_MS);
    return (await read(this.path))?.token === this.token;
  }
}

/** Creates the lock with its content in one step (a link of a finished file); false if there is one already. */
async function create(path: string, content: LockOwner): Promise<boolean> {
  const draft = `${path}.${content.token}`;
  try {
    await writeFile(draft, `${JSON.stringify(content)}\n`);
    await linkOrCopy(draft, path);
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(draft, { force: true }).catch(() => undefined);
  }
}

async function linkOrCopy(draft: string, path: string): Promise<void> {
  try {
    await link(draft, path);
  } catch (error) {
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(errorCode(error) ?? '')) throw error;
    // A file system without hard links: exclusive creation is nearly as good.
    await writeFile(path, await readFile(draft), { flag: 'wx' });
  }
}

/** Content of the lock; undefined if there is none, null if it cannot be understood. */
async function read(path: string): Promise<LockOwner | null | undefined> {
  try {
    return parse(await readFile(path, 'utf8'));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function parse(text: string): LockOwner | null {
  try {
    const value = JSON.parse(text) as LockOwner;
    return Number.isInteger(value.pid) && typeof value.host === 'string' ? value : null;
  } catch {
    return null;
  }
}

/** Moves a dead lock away; puts it back if it turns out to be another one than was judged. */
async function removeStale(path: string, judged: LockOwner | null): Promise<void> {
  const aside = `${path}.stale-${randomBytes(4).toString('hex')}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    throw error;
  }
  const moved = await read(aside);
  if (moved?.token !== judged?.token) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
}

function isAlive(lock: LockOwner): boolean {
  if (lock.host !== hostname()) return true;
  try {
    process.kill(lock.pid, 0);
  } catch (error) {
    if (errorCode(error) === 'ESRCH') return false;
  }
  if (isZombie(lock.pid)) return false;
  const birth = processBirth(lock.pid);
  return lock.birth === null || birth === null || birth === lock.birth;
}

/** Whether a process has ended and only waits for its parent to notice: state Z or X on Linux. */
const isZombie = (pid: number): boolean => /^[ZX]/i.test(processStat(pid)?.[0] ?? '');

/** Boot and start time of a process on Linux; null elsewhere. */
function processBirth(pid: number): string | null {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    // Field 22 of the line.
    const start = processStat(pid)?.[19];
    return start ? `${boot}:${start}` : null;
  } catch {
    return null;
  }
}

/** `/proc/<pid>/stat` from its third field (the state) on; null where there is none. */
function processStat(pid: number): string[] | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command name may hold spaces and parentheses: fields are counted from the last one.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return null;
  }
}
