import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { D2vError } from '@d2v/core';

const FOLDER = join(dirname(fileURLToPath(import.meta.url)), '..', 'peers');
const PYTHON = process.env.D2V_PYTHON ?? 'python3';

/** What a peer prints for a request. */
export interface PeerAnswer {
  version: string;
  threads: number;
  config: Record<string, unknown>;
  seconds: number[];
  median: number;
  /** That were compiled so far. */
  graphs: number;
  /** Bytes: of the process, or of a GPU by tensors. */
  peak_memory: number;
}

/** Why the peer cannot run here, or null. */
export function peerMissing(): string | null {
  const found = spawnSync(PYTHON, ['-c', 'import torch; print(torch.__version__)'], { encoding: 'utf8' });
  if (found.error) return `there is no ${PYTHON} (D2V_PYTHON names another one)`;
  if (found.status !== 0)
    return `${PYTHON} has no torch (pip install torch; D2V_PYTHON names another interpreter)`;
  return null;
}

export interface PeerOptions {
  modality: string;
  preset: string;
  /** 0: all cores. */
  threads: number;
  warmup: number;
  compiled: boolean;
  /** As ours: "cpu", "cuda:0". */
  device: string;
  dtype: 'f32' | 'bf16';
  /** Samples of an update. */
  batch: number;
  /** Masks per sample. */
  clones: number;
}

/** The peer's settings are not ours: its figures mean nothing. */
export class OtherModel extends D2vError {}

/** The PyTorch implementation in a process of its own, which sleeps until it is asked for updates. */
export class Peer {
  /** Of all updates so far. */
  readonly seconds: number[] = [];
  updates = 0;
  last: PeerAnswer | null = null;
  private readonly lines: AsyncIterator<string>;
  private errors = '';
  private readonly ended: Promise<void>;

  private constructor(
    private readonly child: ChildProcess,
    private readonly reader: Interface,
    readonly name: string,
  ) {
    this.lines = reader[Symbol.asyncIterator]();
    this.ended = new Promise((resolve) => child.once('close', () => resolve()));
    child.stdin!.on('error', () => {}); // of one that ended: `line` says so
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.errors = (this.errors + text).slice(-2000);
    });
  }

  static nameOf({ compiled }: Pick<PeerOptions, 'compiled'>): string {
    return compiled ? 'PyTorch compiled' : 'PyTorch';
  }

  /** Starts the peer and waits for its warm-up (compiling takes a minute or so). @throws D2vError if it fails */
  static async start(options: PeerOptions): Promise<Peer> {
    const args = [join(FOLDER, 'bench_peer.py'), options.modality, '--serve', '--preset', options.preset];
    for (const name of ['warmup', 'device', 'dtype', 'batch', 'clones'] as const) {
      args.push(`--${name}`, String(options[name]));
    }
    if (options.threads > 0) args.push('--threads', String(options.threads));
    if (options.compiled) args.push('--compile');
    const child = spawn(PYTHON, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    const reader = createInterface({ input: child.stdout! });
    const peer = new Peer(child, reader, Peer.nameOf(options));
    const ready = await peer.line();
    if (ready === 'ready') return peer;
    child.kill();
    throw new D2vError(`the peer said "${ready}" instead of "ready"`);
  }

  /** So many more updates. */
  async run(updates: number): Promise<PeerAnswer> {
    this.child.stdin!.write(`${updates}\n`);
    this.last = JSON.parse(await this.line()) as PeerAnswer;
    this.seconds.push(...this.last.seconds);
    this.updates += updates;
    return this.last;
  }

  /** @throws OtherModel naming each setting that differs from `expected` */
  checkConfig(expected: Record<string, unknown>): void {
    const actual = this.last?.config ?? {};
    const wrong = Object.entries(expected)
      .filter(([key, value]) => JSON.stringify(actual[key]) !== JSON.stringify(value))
      .map(
        ([key, value]) => `${key} is ${JSON.stringify(actual[key])} there and ${JSON.stringify(value)} here`,
      );
    if (wrong.length > 0) throw new OtherModel(`the peer's model is another one: ${wrong.join('; ')}`);
  }

  async stop(): Promise<void> {
    this.child.stdin!.end();
    this.reader.close();
    await this.ended;
  }

  private async line(): Promise<string> {
    const { value, done } = await this.lines.next();
    if (!done) return value;
    await this.ended;
    throw new D2vError(`${this.name} ended early:\n${this.errors}`);
  }
}
