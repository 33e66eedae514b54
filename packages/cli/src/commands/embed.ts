import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { DataSource, LoadedModel } from '@d2v/core';
import { err } from '../colors.js';
import { formatOf, openSink } from '../embedding-sink.js';
import { CliError } from '../failure.js';
import { type PluginOptions, settingsFor, usePlugins } from './shared.js';

interface EmbedCommandOptions extends PluginOptions {
  modality?: string;
  set?: string[];
  out: string;
  network?: 'student' | 'teacher';
  layer?: number;
  pool: 'mean' | 'grid' | 'cls' | 'none';
  split: 'train' | 'valid' | 'all';
  checkpoint: 'last' | 'best';
  batchSize?: number;
  workers?: number;
  device?: string;
  quiet?: boolean;
}

/** `d2v embed`: writes features of files, folders or a dataset. */
export async function embed(path: string, inputs: string[], options: EmbedCommandOptions): Promise<void> {
  formatOf(options.out);
  const foreign = options.set?.find((text) => !/^\s*data\./.test(text));
  if (foreign !== undefined) {
    throw new CliError(`--set ${foreign}: embed takes settings of the inputs only: data.<key>=<value>`);
  }
  const folder = dirname(options.out);
  if (!(await stat(folder).catch(() => undefined))?.isDirectory()) {
    throw new CliError(`--out ${options.out}: there is no folder ${folder}; make it first`);
  }
  const { loadModel } = await import('@d2v/core');
  await usePlugins(options);
  const whole = await loadModel(path, { device: options.device, which: options.checkpoint });
  let dataset: Dataset | undefined;
  try {
    const chosen = options.modality === undefined ? whole : whole.for(options.modality);
    const loaded = options.set
      ? chosen.configured((name) => ({ set: settingsFor(name, whole.modalities, options.set) }))
      : chosen;
    dataset = await openDataset(loaded, inputs, options);
    if (dataset) await write(loaded.for(dataset.modality), dataset.source, options);
    else await write(loaded, inputs, options);
  } finally {
    await dataset?.source.close?.();
    whole.dispose();
  }
}

async function write(
  loaded: LoadedModel,
  input: DataSource | string[],
  options: EmbedCommandOptions,
): Promise<void> {
  const { network = 'teacher', pool, layer } = options;
  const sink = await openSink(options.out, {
    format: 'd2v-features',
    modality: loaded.modalities.join(','),
    network,
    pool,
    layer: layer === undefined ? 'last' : String(layer),
    update: String(loaded.update),
  });
  let done = 0;
  let bad = 0;
  let shape: number[] = [];
  const tty = process.stderr.isTTY && !options.quiet;
  const say = (message: string) => process.stderr.write(`${tty ? '\r\u001b[K' : ''}${message}\n`);
  const warn = (message: string) => say(`${err.yellow('warning:')} ${message}`);
  try {
    const stream = loaded.embedStream(input, {
      network,
      pool,
      layer,
      batchSize: options.batchSize,
      numWorkers: options.workers,
      onBad(file, reason) {
        bad++;
        warn(`${file}: ${reason} (left out)`);
      },
      log: say,
    });
    for await (const batch of stream) {
      await sink.append(batch);
      done += batch.ids.length;
      shape = batch.shape.slice(1);
      if (tty) process.stderr.write(`\r${done} embedded\u001b[K`);
    }
    if (tty) process.stderr.write('\r\u001b[K');
    if (done === 0) throw new CliError('nothing was embedded: no input could be read');
    const files = await sink.finish();
    if (options.quiet) return;
    const left = bad > 0 ? `, ${bad} damaged left out` : '';
    const noun = done === 1 ? 'sample' : 'samples';
    process.stdout.write(`${done} ${noun} of shape [${shape.join(', ')}]${left}: ${files.join(', ')}\n`);
  } finally {
    await sink.abort();
  }
}

interface Dataset {
  modality: string;
  source: DataSource;
}

/** A single input that is no file but the name of a dataset of one of the modalities. */
async function openDataset(
  loaded: LoadedModel,
  inputs: string[],
  options: EmbedCommandOptions,
): Promise<Dataset | undefined> {
  const { dataCacheDir, didYouMean, isShardRange } = await import('@d2v/core');
  const missing: string[] = [];
  for (const input of inputs) {
    const info = await stat(input).catch(() => undefined);
    if (!info) {
      if (!isShardRange(input)) missing.push(input);
    } else if (!info.isFile() && !info.isDirectory())
      throw new CliError(`${input} is neither a file nor a folder`);
  }
  const [first] = missing;
  if (first === undefined) return undefined;
  const parts = loaded.modalities.map((name) => loaded.for(name));
  const names = parts.flatMap(({ modality }) => Object.keys(modality.datasets));
  const owners = parts.filter(({ modality }) => Object.hasOwn(modality.datasets, first));
  const [owner, ...others] = owners;
  if (others.length > 0) {
    const who = owners.map(({ modality }) => modality.name).join(' and ');
    throw new CliError(`${first} is a dataset of ${who}: say which is meant with --modality`);
  }
  if (inputs.length === 1 && owner) {
    const { modality, config, assets } = owner;
    const data = { ...config.data, path: null, valid_path: null, dataset: first };
    const log = (message: string) => process.stderr.write(`${message}\n`);
    const cacheDir = dataCacheDir(data.cache_dir);
    const { split } = options;
    const source = await modality.openData(data, { split, cacheDir, log, offline: data.offline, assets });
    return { modality: modality.name, source };
  }
  const dataset = missing.find((input) => names.includes(input));
  if (dataset !== undefined) {
    throw new CliError(
      `"${dataset}" is a dataset, which must stand alone: embed it and the other inputs one after the other`,
    );
  }
  const noun = parts.length > 1 ? 'modalities' : 'modality';
  throw new CliError(
    `${first}: no such file or folder, and no dataset of ${noun} ${loaded.modalities.join(', ')}${didYouMean(first, names)}`,
  );
}
