import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { openSafetensors } from '@d2v/core';
import { expect } from 'vitest';

const packageFile = createRequire(import.meta.url).resolve('@d2v/cli/package.json');
const ownBin = join(dirname(packageFile), 'dist', 'bin.js');

export interface Finished {
  /** Exit code, or null if a signal ended it. */
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface Started {
  child: ChildProcess;
  finished: Promise<Finished>;
}

export interface CliOptions {
  cwd?: string;
  uid?: number;
  /** Instead of this process's environment. */
  env?: NodeJS.ProcessEnv;
  /** The script to run, of another installation. */
  bin?: string;
}

/** Starts the real `d2v` command. */
export function startCli(
  args: readonly string[],
  { bin = ownBin, env = process.env, ...options }: CliOptions = {},
): Started {
  const child = spawn(process.execPath, [bin, ...args], {
    ...options,
    // Runners ask for colours with FORCE_COLOR, and what is compared here is text.
    env: { ...env, NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]!.setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  }
  const finished = new Promise<Finished>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, ...output }));
  });
  return { child, finished };
}

export function runCli(args: readonly string[], options: CliOptions = {}): Promise<Finished> {
  return startCli(args, options).finished;
}

/** The same, without a stack trace in what it says. */
export async function runCleanly(args: readonly string[], options: CliOptions = {}): Promise<Finished> {
  const result = await runCli(args, options);
  expect(result.stderr, args.join(' ')).not.toContain('    at ');
  return result;
}

/** A model so small that an update takes milliseconds. */
const SMALL = [
  'model.embed_dim=32',
  'model.num_heads=2',
  'model.clone_batch=2',
  'data.batch_size=4',
  'common.threads=1',
];

/** For images, with everything random switched on. */
const SETTINGS = [
  'model.depth=2',
  'model.average_top_k_layers=2',
  'model.layerdrop=0.1',
  'model.encoder_dropout=0.1',
  'model.modalities.image.input_size=16',
  'model.modalities.image.patch_size=4',
  'model.modalities.image.prenet_depth=1',
  'model.modalities.image.decoder.decoder_dim=32',
  'model.modalities.image.decoder.decoder_groups=4',
  'model.modalities.image.decoder.decoder_layers=2',
  'data.valid_share=0.25',
  'common.log_interval=4',
  'eval.report=false',
  'eval.train_samples=20',
];

/** Arguments of `d2v train image` for a small run. */
export function trainArguments(run: string, data: string, settings: readonly string[] = []): string[] {
  return trainModality('image', run, data, [...SETTINGS, ...settings]);
}

/** Arguments of `d2v train` for a small run of any modality. */
export function trainModality(
  modality: string,
  run: string,
  data: string,
  settings: readonly string[],
): string[] {
  const set = [...SMALL, ...settings].flatMap((text) => ['--set', text]);
  return ['train', modality, '--preset', 'tiny', '--data', data, '--run', run, ...set];
}

/** Arguments that go on with a run. */
export function resumeArguments(run: string): string[] {
  return ['train', '--run', run, '--resume'];
}

/** Updates of the complete checkpoints in a run folder. */
export function checkpoints(run: string): number[] {
  let names: string[] = [];
  try {
    names = readdirSync(join(run, 'checkpoints'));
  } catch {
    // not yet
  }
  return names
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);
}

const TIMES = new Set(['seconds', 'samples_per_second', 'wait_share']);

/** Asserts that a run made so many updates, each with a finite loss. */
export function expectUpdates(run: string, updates: number): void {
  const lines = metrics(run).filter(({ loss }) => loss !== undefined);
  expect(lines.at(-1)?.update).toBe(updates);
  for (const { loss } of lines) expect(Number.isFinite(loss)).toBe(true);
}

/** The lines of `metrics.jsonl` without what depends on the clock. */
export function metrics(run: string): Record<string, number>[] {
  const lines = readFileSync(join(run, 'metrics.jsonl'), 'utf8').trim().split('\n');
  return lines.map((line) =>
    Object.fromEntries(Object.entries(JSON.parse(line)).filter(([name]) => !TIMES.has(name))),
  ) as Record<string, number>[];
}

/** What must agree between a run and one that was interrupted. */
export function outcome(run: string, update: number) {
  const folder = join(run, 'checkpoints', String(update));
  const state = JSON.parse(readFileSync(join(folder, 'trainer.json'), 'utf8'));
  delete state.seconds;
  return {
    model: digests(join(folder, 'model.safetensors')),
    optimizer: digests(join(folder, 'optimizer.safetensors')),
    state,
    metrics: metrics(run),
  };
}

/** A hash of every tensor: the config beside them may differ in settings that change nothing (loader threads). */
function digests(path: string): Record<string, string> {
  const file = openSafetensors(path);
  try {
    const hash = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
    return Object.fromEntries(file.names.map((name) => [name, hash(file.read(name))]));
  } finally {
    file.close();
  }
}
