import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { D2vError } from '../errors.js';
import type { BatchJob, LoadedBatch } from './load-batch.js';
import type { FromWorker, SourceSpec, ToWorker } from './protocol.js';

interface Pending {
  resolve(result: LoadedBatch): void;
  reject(error: unknown): void;
}

/** How long a thread may take to finish its last job when the loader is closed. */
const CLOSE_MS = 2000;

/** The main thread's end of one loader thread. */
export class LoaderThread {
  private readonly worker: Worker;
  private readonly pending = new Map<number, Pending>();
  private readonly exited: Promise<void>;
  private failure: unknown;
  private closing = false;
  private nextId = 0;

  constructor(
    readonly number: number,
    spec: SourceSpec,
  ) {
    this.worker = new Worker(workerEntry(), { workerData: spec, name: `d2v loader ${number}` });
    this.worker.on('message', (message: FromWorker) => this.receive(message));
    this.worker.on('messageerror', (error) => this.fail(this.describe('sent something unreadable', error)));
    this.worker.on('error', (error) => this.fail(this.describe('failed', error)));
    this.exited = new Promise((resolve) => {
      this.worker.on('exit', (code) => {
        if (!this.closing) this.fail(this.describe(`stopped with exit code ${code}`));
        resolve();
      });
    });
  }

  /** Batches asked for and not yet here. */
  get load(): number {
    return this.pending.size;
  }

  /** Rejects when the thread fails or dies: it never leaves a batch open. */
  request(job: BatchJob): Promise<LoadedBatch> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.pending.set(id, { resolve, reject });
      this.post({ type: 'load', id, job });
    });
  }

  /** Lets the thread finish its job (native decoders must not be torn down in the middle), then ends it. */
  async close(): Promise<void> {
    this.closing = true;
    const closed = new D2vError('the data loader was closed');
    this.fail(closed);
    this.post({ type: 'close' });
    const timer = setTimeout(() => void this.worker.terminate(), CLOSE_MS);
    await this.exited;
    clearTimeout(timer);
  }

  private post(message: ToWorker): void {
    this.worker.postMessage(message);
  }

  private receive(message: FromWorker): void {
    if (message.type === 'ready') return;
    if (message.type === 'failed') {
      const error = message.expected
        ? new D2vError(message.message)
        : this.describe('failed', { message: message.message, stack: message.stack });
      if (message.id === null) this.fail(error);
      else this.settle(message.id)?.reject(error);
      return;
    }
    this.settle(message.id)?.resolve(message.result);
  }

  private settle(id: number): Pending | undefined {
    const pending = this.pending.get(id);
    this.pending.delete(id);
    return pending;
  }

  private fail(error: unknown): void {
    this.failure ??= error;
    for (const { reject } of this.pending.values()) reject(this.failure);
    this.pending.clear();
  }

  private describe(what: string, error?: { message?: string; stack?: string }): D2vError {
    const detail = error?.message ? `: ${error.message}` : '';
    return new D2vError(
      `data loader thread ${this.number} ${what}${detail}; run with data.num_workers=0 to see where`,
      error ? { cause: error } : undefined,
    );
  }
}

/** The built worker: beside the bundle, or in `dist` when core runs from its sources (tests). */
function workerEntry(): URL {
  const fromSources = import.meta.url.endsWith('.ts');
  const url = new URL(fromSources ? '../../dist/data/worker.js' : './data/worker.js', import.meta.url);
  if (existsSync(fileURLToPath(url))) return url;
  throw new D2vError(
    fromSources
      ? 'loader threads need the built package: run `pnpm --filter @d2v/core build`, or set data.num_workers to 0'
      : 'the installation of @d2v/core is incomplete (dist/data/worker.js is missing): install it again',
  );
}
