/** Threads that encode documents; results come in the order of the jobs, whatever thread was first. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { type Assets, D2vError } from '@d2v/core';
import type { EncodedJob, EncodeJob } from './encode.js';

/** What every thread is started with. */
export interface EncoderSpec {
  /** The tokenizer's files, and where they are from. */
  files: Assets;
  label: string;
  validShare: number;
}

export type ToEncoder = { type: 'encode'; id: number; job: EncodeJob } | { type: 'close' };
export type FromEncoder =
  | { type: 'encoded'; id: number; result: EncodedJob }
  | { type: 'failed'; id: number; message: string; stack?: string; expected: boolean };

/** Jobs ready or under way, per thread: the next one lies there when a thread is done. */
const AHEAD = 2;
/** How long a thread may take to finish its last job when the pool is closed. */
const CLOSE_MS = 5000;

interface Thread {
  worker: Worker;
  pending: Map<number, { resolve(result: EncodedJob): void; reject(error: unknown): void }>;
  exited: Promise<void>;
}

export class EncoderPool {
  private readonly threads: Thread[];
  private failure: unknown;
  private nextId = 0;

  constructor(count: number, spec: EncoderSpec) {
    this.threads = Array.from({ length: count }, (_, i) => this.start(i + 1, spec));
  }

  /**
   * Encodes jobs, each on the thread with the least to do. Jobs are taken only as far ahead as the threads need.
   * @throws D2vError for the first job that cannot be done
   */
  async *encode<J extends EncodeJob>(jobs: AsyncIterable<J>): AsyncGenerator<{ job: J; result: EncodedJob }> {
    const queue: { job: J; result: Promise<EncodedJob> }[] = [];
    for await (const job of jobs) {
      const result = this.request(job);
      // Seen when its turn comes; until then it must not count as unhandled.
      result.catch(() => undefined);
      queue.push({ job, result });
      if (queue.length < AHEAD * this.threads.length) continue;
      const first = queue.shift()!;
      yield { job: first.job, result: await first.result };
    }
    for (const { job, result } of queue) yield { job, result: await result };
  }

  /** Lets the threads finish what they are at (native decoders must not be torn down in the middle), then ends them. */
  async close(): Promise<void> {
    this.fail(new D2vError('the encoder was closed'));
    const message: ToEncoder = { type: 'close' };
    for (const { worker } of this.threads) worker.postMessage(message);
    const timer = setTimeout(() => {
      for (const { worker } of this.threads) void worker.terminate();
    }, CLOSE_MS);
    await Promise.all(this.threads.map(({ exited }) => exited));
    clearTimeout(timer);
  }

  private request(job: EncodeJob): Promise<EncodedJob> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    const thread = this.threads.reduce((best, one) => (one.pending.size < best.pending.size ? one : best));
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      thread.pending.set(id, { resolve, reject });
      const message: ToEncoder = { type: 'encode', id, job };
      thread.worker.postMessage(message, job.kind === 'archive' ? [job.bytes.buffer as ArrayBuffer] : []);
    });
  }

  private start(number: number, spec: EncoderSpec): Thread {
    const worker = new Worker(threadEntry(), { workerData: spec, name: `d2v encoder ${number}` });
    const pending: Thread['pending'] = new Map();
    worker.on('message', (message: FromEncoder) => {
      const request = pending.get(message.id);
      pending.delete(message.id);
      if (message.type === 'encoded') request?.resolve(message.result);
      else request?.reject(errorOf(message));
    });
    worker.on('error', (error) => this.fail(error));
    const exited = new Promise<void>((resolve) => {
      worker.on('exit', (code) => {
        this.fail(new D2vError(`encoder thread ${number} stopped with exit code ${code}`));
        resolve();
      });
    });
    return { worker, pending, exited };
  }

  private fail(error: unknown): void {
    this.failure ??= error;
    for (const { pending } of this.threads ?? []) {
      for (const { reject } of pending.values()) reject(this.failure);
      pending.clear();
    }
  }
}

function errorOf({ message, stack, expected }: Extract<FromEncoder, { type: 'failed' }>): Error {
  if (expected) return new D2vError(message);
  const error = new Error(message);
  error.stack = stack;
  return error;
}

/** The built thread: beside the bundle, or in `dist` when the package runs from its sources (tests). */
function threadEntry(): URL {
  const fromSources = import.meta.url.endsWith('.ts');
  const url = new URL(fromSources ? '../../../dist/encode-thread.js' : './encode-thread.js', import.meta.url);
  if (existsSync(fileURLToPath(url))) return url;
  throw new D2vError(
    fromSources
      ? 'encoder threads need the built package: run `pnpm --filter @d2v/modality-text build`'
      : 'the installation of @d2v/modality-text is incomplete (dist/encode-thread.js is missing): install it again',
  );
}
