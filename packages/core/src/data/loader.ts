import { availableParallelism } from 'node:os';
import { D2vError } from '../errors.js';
import type { BatchJob, BatchSource, LoadedBatch } from './load-batch.js';
import { loadBatch } from './load-batch.js';
import { LoaderThread } from './loader-thread.js';
import type { SourceSpec } from './protocol.js';

export interface LoaderOptions {
  /** The batches to load, in order; may be endless. */
  jobs: Iterable<BatchJob>;
  /** Threads; 0 loads in the calling thread through `local`. */
  workers: number;
  /** Batches kept ready or in the making, per thread. */
  prefetch: number;
  /** A thread that delivers nothing for so long is an error. */
  timeoutSeconds: number;
  /** For `workers` 0. */
  local?: BatchSource;
  /** For threads. */
  spec?: SourceSpec;
}

/** Loader threads for `data.num_workers: null`: the computation needs the cores more than the data does. */
export function automaticWorkers(): number {
  return Math.max(1, Math.min(4, Math.floor(availableParallelism() / 2)));
}

/**
 * Loads batches ahead of their use. What comes out, and in which order, does not depend on the number of threads; at
 * most `workers * prefetch` batches are in memory.
 */
export class DataLoader {
  private readonly jobs: Iterator<BatchJob>;
  private readonly threads: LoaderThread[];
  private readonly queue: Promise<LoadedBatch>[] = [];
  private exhausted = false;
  private closed = false;
  /** Seconds that `next` has waited for data. */
  waited = 0;

  constructor(private readonly options: LoaderOptions) {
    const { workers, spec, local } = options;
    if (workers > 0 ? !spec : !local)
      throw new Error('the loader needs a source: `spec` for threads, `local` without');
    this.jobs = options.jobs[Symbol.iterator]();
    this.threads = Array.from({ length: workers }, (_, i) => new LoaderThread(i + 1, spec!));
    this.fill();
  }

  /**
   * The next batch, or null after the last.
   * @throws D2vError when it cannot be loaded, a thread died, or nothing came for `timeoutSeconds`
   */
  async next(): Promise<LoadedBatch | null> {
    if (this.closed) throw new D2vError('the data loader was closed');
    const start = performance.now();
    try {
      if (this.threads.length === 0) {
        const job = this.takeJob();
        return job && (await loadBatch(job, this.options.local!));
      }
      this.fill();
      const first = this.queue.shift();
      if (!first) return null;
      const batch = await this.inTime(first);
      this.fill();
      return batch;
    } finally {
      this.waited += (performance.now() - start) / 1000;
    }
  }

  /** Ends the threads. Batches under way are thrown away. */
  async close(): Promise<void> {
    this.closed = true;
    await Promise.all(this.threads.map((thread) => thread.close()));
  }

  private takeJob(): BatchJob | null {
    if (this.exhausted || this.closed) return null;
    const { value, done } = this.jobs.next();
    if (done) this.exhausted = true;
    return done ? null : value;
  }

  /** Hands out jobs until the bound; each goes to the thread with the least to do. */
  private fill(): void {
    if (this.threads.length === 0) return;
    const bound = this.threads.length * Math.max(1, this.options.prefetch);
    while (this.queue.length < bound) {
      const job = this.takeJob();
      if (!job) return;
      const thread = this.threads.reduce((least, other) => (other.load < least.load ? other : least));
      const result = thread.request(job);
      // An error is reported by `next` when its turn comes; until then it must not count as unhandled.
      result.catch(() => undefined);
      this.queue.push(result);
    }
  }

  private async inTime(result: Promise<LoadedBatch>): Promise<LoadedBatch> {
    const { timeoutSeconds } = this.options;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(
          new D2vError(
            `the data loader has delivered nothing for ${timeoutSeconds} s: check the storage, or raise data.worker_timeout_seconds`,
          ),
        );
      }, timeoutSeconds * 1000);
    });
    try {
      return await Promise.race([result, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}
