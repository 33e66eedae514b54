/** `d2v data download | prepare | verify | stats | rm`. */
import { createInterface } from 'node:readline/promises';
import type { DatasetOptions, ManagedDataset, VerifyReport } from '@d2v/core';
import { out } from '../../colors.js';
import { DataProgress } from '../../data-progress.js';
import { CliError, EXIT } from '../../failure.js';
import { bytes, count } from '../../format.js';
import { findDataset } from './find.js';
import { interruptible } from './interrupt.js';
import { type DataOptions, datasetOptions } from './options.js';

/** Finds the dataset and calls `work` with what core is to be told; progress goes to standard error, results to standard output. */
async function onDataset<T>(
  words: readonly string[],
  options: DataOptions,
  work: (dataset: ManagedDataset, given: DatasetOptions) => Promise<T>,
): Promise<T> {
  const [name, ...rest] = words;
  const { dataset } = await findDataset(name!, options);
  const view = new DataProgress(process.stderr, options.quiet);
  try {
    return await interruptible(async (signal) =>
      work(dataset, await datasetOptions(dataset, options, rest, view, signal)),
    );
  } finally {
    view.clear();
  }
}

export async function download(words: readonly string[], options: DataOptions): Promise<void> {
  const { downloadDataset } = await import('@d2v/core');
  const files = await onDataset(words, options, downloadDataset);
  if (options.json) print(Object.fromEntries(files));
  else process.stdout.write(`${words[0]}: ${files.size} files are here and verified\n`);
}

export async function prepare(words: readonly string[], options: DataOptions): Promise<void> {
  const { prepareDataset } = await import('@d2v/core');
  const ready = await onDataset(words, options, prepareDataset);
  if (options.json) print(ready);
  else process.stdout.write(`${ready.name} (${ready.splits.join(', ')}) is prepared in ${ready.folder}\n`);
}

export async function verify(words: readonly string[], options: DataOptions): Promise<void> {
  const { verifyDataset } = await import('@d2v/core');
  const report = await onDataset(words, options, verifyDataset);
  if (options.json) print(report);
  else {
    for (const { file, problem } of report.problems)
      process.stdout.write(`${out.red('damaged:')} ${file}: ${problem}\n`);
    process.stdout.write(
      `${words[0]}: ${report.files} files, ${bytes(report.bytes)} read; ${verdict(report.problems, words[0]!)}\n`,
    );
  }
  if (report.problems.length > 0) process.exitCode = EXIT.failure;
}

function verdict(problems: VerifyReport['problems'], name: string): string {
  if (problems.length === 0) return 'all as they should be';
  const remedy = problems.some(({ kind }) => kind === 'prepared')
    ? `"d2v data prepare ${name}" makes them again, and only them`
    : `"d2v data download ${name}" brings downloads again; prepared files do not need them`;
  return `${problems.length} damaged: ${remedy}`;
}

export async function stats(words: readonly string[], options: DataOptions): Promise<void> {
  const { datasetStats } = await import('@d2v/core');
  const { dataset } = await findDataset(words[0]!, options);
  const found = await datasetStats(dataset.name);
  if (options.json) return print(found);
  if (!found) throw new CliError(`nothing is here of ${dataset.name}: d2v data prepare ${dataset.name}`);
  const lines = [
    out.bold(found.name),
    `  ${found.folder}`,
    `  downloads: ${found.raw.files} files, ${bytes(found.raw.bytes)}`,
  ];
  for (const { variant, splits, damaged, files, bytes: size, counts } of found.prepared) {
    const whole = splits.length > 0 ? splits.join(', ') : 'not complete';
    const what = damaged.length > 0 ? `${whole}; damaged: ${damaged.join(', ')}` : whole;
    lines.push(`  prepared ${variant} (${what}): ${files} files, ${bytes(size)}`);
    for (const [key, value] of Object.entries(counts).filter(
      ([name]) => !dataset.internalCounts?.includes(name),
    ))
      lines.push(`    ${key}: ${key === 'bytes' ? bytes(value) : count(value)}`);
  }
  process.stdout.write(`${lines.join('\n')}\n`);
}

export async function remove(
  words: readonly string[],
  options: DataOptions & { raw?: boolean },
): Promise<void> {
  const { datasetStats, removeDataset } = await import('@d2v/core');
  const { dataset } = await findDataset(words[0]!, options);
  const found = await datasetStats(dataset.name).catch(() => null);
  const size = found
    ? found.raw.bytes + (options.raw ? 0 : found.prepared.reduce((sum, one) => sum + one.bytes, 0))
    : 0;
  const what = options.raw ? `the downloads of ${dataset.name}` : dataset.name;
  if (!options.yes) await confirm(`remove ${what}${size > 0 ? ` (${bytes(size)})` : ''}?`);
  const part = options.raw ? 'raw' : 'all';
  const removed = await removeDataset(dataset, {}, part);
  if (options.json) return print({ name: dataset.name, part, removed, bytes: removed ? size : 0 });
  process.stdout.write(removed ? `removed ${what}\n` : `nothing is here of ${dataset.name}\n`);
}

/** @throws CliError unless a person says yes */
async function confirm(question: string): Promise<void> {
  if (!process.stdin.isTTY) throw new CliError(`${question} Say so with --yes`);
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    if (!/^y(es)?$/i.test((await lines.question(`${question} [y/N] `)).trim()))
      throw new CliError('nothing was removed');
  } finally {
    lines.close();
  }
}

const print = (value: unknown) => void process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
