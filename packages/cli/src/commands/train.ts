import { readdir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { Assignment, Modality, RunConfig, TrainResult } from '@d2v/core';
import pc from 'picocolors';
import { CliError } from '../failure.js';
import { duration } from '../format.js';
import { ProgressView } from '../progress.js';
import { assignments, chooseModalities, findModalities, type PluginOptions } from './shared.js';

interface TrainCommandOptions extends PluginOptions {
  preset?: string;
  data?: string;
  config?: string[];
  set?: string[];
  run?: string;
  resume?: boolean;
  device?: string;
  seed?: string;
  batchSize?: string;
  batchLength?: string;
  evalData?: string;
  workers?: string;
  maxUpdates?: string;
  maxSeconds?: string;
  lossThreshold?: string;
  patience?: string;
  offline?: boolean;
  report: boolean;
  quiet?: boolean;
}

/** `d2v train`: resolves the config, trains, reports. */
export async function train(name: string | undefined, options: TrainCommandOptions): Promise<void> {
  if (options.resume && options.run === undefined)
    throw new CliError('--resume needs --run <folder> to go on with');
  const core = await import('@d2v/core');
  const modality = await chooseModality(name, options);
  const config = await (options.resume ? resumed(modality, options) : resolved(modality, options));
  const runDir = options.run ?? (await freeRunFolder(`runs/${modality.name}-${config.preset}`));
  const view = new ProgressView(process.stdout, options.quiet);
  let result: TrainResult;
  try {
    result = await core.train({
      config,
      modality,
      runDir,
      resume: options.resume ?? false,
      on: view.on,
      handleSignals: true,
    });
  } finally {
    view.clear();
  }
  const { message, update, seconds, checkpoint } = result;
  process.stdout.write(`${message}\n`);
  process.stdout.write(
    `${update} updates in ${duration(seconds)}; saved ${shown(join(runDir, checkpoint))}\n`,
  );
  if (result.reason === 'signal') {
    process.stdout.write(`Go on with: d2v train --run ${shown(runDir)} --resume\n`);
  } else if (options.report && config.eval.report !== false) {
    await report(config, modality, runDir, options);
  }
}

async function chooseModality(name: string | undefined, options: TrainCommandOptions): Promise<Modality> {
  const { readRunModalities } = await import('@d2v/core');
  const [modality, ...others] =
    name === undefined && options.resume
      ? await findModalities(await readRunModalities(options.run!), options)
      : await chooseModalities(name, options);
  if (others.length > 0) throw new CliError('runs of several modalities are not there yet');
  return modality!;
}

/** Flags with a key of their own, in the order of the help. */
function flags(options: TrainCommandOptions): Assignment[] {
  return assignments({
    '--device': ['common.device', options.device],
    '--seed': ['common.seed', options.seed],
    '--batch-size': ['data.batch_size', options.batchSize],
    '--batch-length': ['data.batch_length', options.batchLength],
    '--workers': ['data.num_workers', options.workers],
    '--max-updates': ['optimization.max_update', options.maxUpdates],
    '--max-seconds': ['stop.max_seconds', options.maxSeconds],
    '--loss-threshold': ['stop.loss_threshold', options.lossThreshold],
    '--patience': ['stop.plateau_patience', options.patience],
    '--eval-data': ['eval.data', options.evalData],
    '--offline': ['data.offline', options.offline],
  });
}

async function layersOf(modality: Modality, options: TrainCommandOptions) {
  const { dataLayer, readYamlLayer } = await import('@d2v/core');
  const layers = await Promise.all((options.config ?? []).map(readYamlLayer));
  if (options.data !== undefined) layers.push(await dataLayer(modality, options.data, '--data'));
  return layers;
}

async function resolved(modality: Modality, options: TrainCommandOptions): Promise<RunConfig> {
  const { resolveConfig } = await import('@d2v/core');
  const layers = await layersOf(modality, options);
  const set = [...(options.set ?? []), ...flags(options)];
  return resolveConfig({ modality, preset: options.preset, layers, set });
}

async function resumed(modality: Modality, options: TrainCommandOptions): Promise<RunConfig> {
  const { readRunConfig, resumeConfig } = await import('@d2v/core');
  const stored = await readRunConfig(options.run!, modality);
  if (options.preset !== undefined && options.preset !== stored.preset) {
    throw new CliError(
      `the run was made with the preset "${stored.preset}", not "${options.preset}": leave --preset out`,
    );
  }
  const layers = await layersOf(modality, options);
  return resumeConfig(modality, stored, { layers, set: [...(options.set ?? []), ...flags(options)] });
}

/** `runs/image-tiny`, or `-2`, `-3`, ... if it is taken. */
async function freeRunFolder(base: string): Promise<string> {
  for (let n = 1; ; n++) {
    const folder = n === 1 ? base : `${base}-${n}`;
    const content = await readdir(folder).catch(() => []);
    if (content.length === 0) return folder;
  }
}

async function report(
  config: RunConfig,
  modality: Modality,
  runDir: string,
  options: TrainCommandOptions,
): Promise<void> {
  const { loadModel, resolveDevice, runReport } = await import('@d2v/core');
  const device = resolveDevice(config.common.device);
  const loaded = await loadModel(runDir, { modality, device });
  try {
    if (!options.quiet) process.stdout.write(pc.dim('scoring frozen features on held-out samples ...\n'));
    const { model, assets } = loaded;
    const result = await runReport({ runDir, config, modality, model, assets, device });
    if (!result) return;
    if (result.table) process.stdout.write(`\n${result.task}:\n\n${result.table}\n\n`);
    for (const file of result.files) process.stdout.write(`${shown(file)}\n`);
    process.stdout.write(`${shown(join(runDir, 'curves.html'))}\n`);
  } finally {
    loaded.dispose();
  }
}

const shown = (path: string): string => {
  const near = relative('', path);
  return near.startsWith('..') ? path : near;
};
