import { readdir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { AnyConfig, Assignment, Modality, TrainResult } from '@d2v/core';
import { err, out } from '../colors.js';
import { DataProgress } from '../data-progress.js';
import { CliError } from '../failure.js';
import { duration } from '../format.js';
import { ProgressView } from '../progress.js';
import { terms } from './data/options.js';
import { assignments, chooseModalities, findModalities, type ModalityOptions } from './shared.js';

interface TrainCommandOptions extends ModalityOptions {
  preset?: string;
  data?: string[];
  set?: string[];
  run?: string;
  resume?: boolean;
  device?: string;
  seed?: string;
  batchSize?: string[];
  batchLength?: string[];
  evalData?: string[];
  workers?: string;
  maxUpdates?: string;
  maxSeconds?: string;
  lossThreshold?: string;
  patience?: string;
  offline?: boolean;
  mirror?: string;
  yes?: boolean;
  report: boolean;
  quiet?: boolean;
}

/** `d2v train`: resolves the config, trains, reports. */
export async function train(name: string | undefined, options: TrainCommandOptions): Promise<void> {
  if (options.resume && options.run === undefined)
    throw new CliError('--resume needs --run <folder> to go on with');
  const core = await import('@d2v/core');
  const modalities = await modalitiesOf(name, options);
  const config = await (options.resume ? resumed(modalities, options) : resolved(modalities, options));
  const names = modalities.map((modality) => modality.name);
  const runDir = options.run ?? (await freeRunFolder(`runs/${[...names, config.preset].join('-')}`));
  const view = new ProgressView(process.stdout, options.quiet);
  const data = new DataProgress(process.stdout, options.quiet);
  let result: TrainResult;
  try {
    result = await core.train({
      config,
      modalities,
      runDir,
      resume: options.resume ?? false,
      on: view.on,
      handleSignals: true,
      datasets: { on: data.on, mirror: options.mirror, ...terms(options.yes, data) },
    });
  } finally {
    data.clear();
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
    await report(config, modalities, runDir, options);
  }
}

async function modalitiesOf(name: string | undefined, options: TrainCommandOptions): Promise<Modality[]> {
  if (name === undefined && options.modalities === undefined && options.resume) {
    const { readRunModalities } = await import('@d2v/core');
    return findModalities(await readRunModalities(options.run!), options);
  }
  return chooseModalities(name, options);
}

/** Flags with a key of their own, in the order of the help. */
function flags(modalities: readonly Modality[], options: TrainCommandOptions): Assignment[] {
  return [
    ...assignments({
      '--device': ['common.device', options.device],
      '--seed': ['common.seed', options.seed],
    }),
    ...ofModalities(modalities, '--batch-size', 'data', 'batch_size', options.batchSize),
    ...ofModalities(modalities, '--batch-length', 'data', 'batch_length', options.batchLength),
    ...ofModalities(modalities, '--workers', 'data', 'num_workers', options.workers),
    ...assignments({
      '--max-updates': ['optimization.max_update', options.maxUpdates],
      '--max-seconds': ['stop.max_seconds', options.maxSeconds],
      '--loss-threshold': ['stop.loss_threshold', options.lossThreshold],
      '--patience': ['stop.plateau_patience', options.patience],
    }),
    ...ofModalities(modalities, '--eval-data', 'eval', 'data', options.evalData),
    ...ofModalities(modalities, '--offline', 'data', 'offline', options.offline),
  ];
}

/** A flag that sets a key of every modality, or of the one that its value begins with: `image=8`. */
function ofModalities(
  modalities: readonly Modality[],
  flag: string,
  section: string,
  key: string,
  given: string | boolean | string[] | undefined,
): Assignment[] {
  if (given === undefined) return [];
  const values = [given].flat().map(String);
  return values.flatMap((value) => {
    const named = modalities.find(({ name }) => value.startsWith(`${name}=`));
    const text = named ? value.slice(named.name.length + 1) : value;
    if (modalities.length === 1) return [{ text: `${section}.${key}=${text}`, flag }];
    const owners = named ? [named] : modalities;
    return owners.map(({ name }) => ({ text: `${section}.${name}.${key}=${text}`, flag }));
  });
}

async function layersOf(modalities: readonly Modality[], options: TrainCommandOptions) {
  const { dataLayer, readYamlLayer } = await import('@d2v/core');
  const layers = await Promise.all((options.config ?? []).map(readYamlLayer));
  if (options.data !== undefined) layers.push(await dataLayer(modalities, options.data, '--data'));
  return layers;
}

async function resolved(modalities: readonly Modality[], options: TrainCommandOptions): Promise<AnyConfig> {
  const { resolveConfig } = await import('@d2v/core');
  const layers = await layersOf(modalities, options);
  const set = [...(options.set ?? []), ...flags(modalities, options)];
  return resolveConfig({ modalities, preset: options.preset, layers, set });
}

async function resumed(modalities: readonly Modality[], options: TrainCommandOptions): Promise<AnyConfig> {
  const { readRunConfig, readRunModalities, resumeConfig } = await import('@d2v/core');
  const names = await readRunModalities(options.run!);
  const given = modalities.map(({ name }) => name);
  if (given.length !== names.length || !names.every((name) => given.includes(name))) {
    throw new CliError(
      `the run is of ${names.join(', ')}, not ${given.join(', ')}: leave the modality out when it goes on`,
    );
  }
  const stored = await readRunConfig(options.run!, modalities);
  if (options.preset !== undefined && options.preset !== stored.preset) {
    throw new CliError(
      `the run was made with the preset "${stored.preset}", not "${options.preset}": leave --preset out`,
    );
  }
  const layers = await layersOf(modalities, options);
  const set = [...(options.set ?? []), ...flags(modalities, options)];
  return resumeConfig(modalities, stored, { layers, set });
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
  config: AnyConfig,
  modalities: readonly Modality[],
  runDir: string,
  options: TrainCommandOptions,
): Promise<void> {
  const { D2vError, loadModel, resolveDevice, runReport, viewOf } = await import('@d2v/core');
  const device = resolveDevice(config.common.device);
  const loaded = await loadModel(runDir, { modalities, device });
  const several = modalities.length > 1;
  let files = 0;
  try {
    if (!options.quiet) process.stdout.write(out.dim('scoring frozen features on held-out samples ...\n'));
    for (const modality of modalities) {
      const { name } = modality;
      const { model, assets } = loaded.for(name);
      const suffix = several ? `-${name}` : '';
      const view = viewOf(config, name);
      const what = { runDir, config: view, modality, suffix, model, assets, device };
      // The run is complete and saved: that there is too little of its data to score features with does not undo it.
      const result = await runReport(what).catch((error: unknown) => {
        if (!(error instanceof D2vError) || view.eval.data !== null) throw error;
        process.stderr.write(
          `${err.yellow('warning:')} no report${several ? ` of ${name}` : ''}: ${error.message}\n`,
        );
        return undefined;
      });
      if (result === undefined) continue;
      if (!result?.table) process.stdout.write(`no scores: the ${name} data has no classes\n`);
      if (!result) continue;
      const task = several ? `${name}: ${result.task}` : result.task;
      if (result.table) process.stdout.write(`\n${task}:\n\n${result.table}\n\n`);
      for (const file of result.files) process.stdout.write(`${shown(file)}\n`);
      files += result.files.length;
    }
    if (files > 0) process.stdout.write(`${shown(join(runDir, 'curves.html'))}\n`);
  } finally {
    loaded.dispose();
  }
}

const shown = (path: string): string => {
  const near = relative('', path);
  return near.startsWith('..') ? path : near;
};
