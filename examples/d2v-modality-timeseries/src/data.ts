/** Where series come from: the built-in waveforms, or CSV files with a folder per class. */
import { stat } from 'node:fs/promises';
import { basename, join, relative, sep } from 'node:path';
import {
  D2vError,
  type DataConfig,
  type DataSource,
  didYouMean,
  type OpenDataOptions,
  type Philox,
  type Sample,
} from '@d2v/core';
import fastGlob from 'fast-glob';
import type { TimeseriesData } from './config.js';
import { readSeries, type Series } from './csv.js';
import { WAVEFORM_COUNTS, WAVEFORMS, waveform, waveformLength } from './waveforms.js';

const PATTERN = '**/*.{csv,tsv,txt}';

/** Opens `data.path`, or else the built-in dataset. */
export async function openTimeseries(
  data: TimeseriesData & DataConfig,
  { split }: OpenDataOptions,
): Promise<DataSource> {
  const limit = split === 'train' && data.limit > 0 ? data.limit : Number.POSITIVE_INFINITY;
  if (data.path !== null) {
    const separate = data.valid_path !== null;
    const root = separate && split === 'valid' ? data.valid_path! : data.path;
    const files = await list(root);
    const chosen = separate ? files : part(files, split, data.valid_share);
    return folder(root, chosen.slice(0, limit), data);
  }
  const name = data.dataset ?? 'waveforms';
  if (name !== 'waveforms')
    throw new D2vError(`there is no dataset "${name}"${didYouMean(name, ['waveforms'])}`);
  return waveforms(split, limit, data);
}

/** Opens files and folders that the user named. */
export async function openFiles(paths: string[], data: TimeseriesData & DataConfig): Promise<DataSource> {
  const files: string[] = [];
  for (const path of paths) {
    const found = await stat(path).catch(() => undefined);
    if (!found) throw new D2vError(`${path}: no such file or folder`);
    files.push(...(found.isDirectory() ? await list(path) : [path]));
  }
  if (files.length === 0) throw new D2vError(`no ${PATTERN} files in ${paths.join(', ')}`);
  return source(files.length, basename(paths[0]!), data, (index) => readSeries(files[index]!), {
    describe: (index) => files[index]!,
  });
}

async function list(root: string): Promise<string[]> {
  const found = await fastGlob(PATTERN, { cwd: root, caseSensitiveMatch: false });
  if (found.length === 0)
    throw new D2vError(`${root}: no ${PATTERN} files; give a folder of series, one per file`);
  return found.sort().map((file) => join(root, file));
}

/** Every n-th file is held out, so that each class gives its share. */
function part(files: string[], split: OpenDataOptions['split'], share: number): string[] {
  if (split === 'all') return files;
  const every = share > 0 ? Math.max(2, Math.round(1 / share)) : Number.POSITIVE_INFINITY;
  return files.filter((_file, i) => (i % every === every - 1) === (split === 'valid'));
}

/** Labelled by the first folder below the root, if there are any folders. */
function folder(root: string, files: string[], data: TimeseriesData): DataSource {
  const classOf = (file: string) => {
    const [first, ...rest] = relative(root, file).split(sep);
    return rest.length > 0 ? first! : undefined;
  };
  const classes = [...new Set(files.flatMap((file) => classOf(file) ?? []))].sort();
  const label = (index: number) => classes.indexOf(classOf(files[index]!) ?? '');
  return source(files.length, basename(root), data, (index) => readSeries(files[index]!), {
    describe: (index) => relative(root, files[index]!),
    ...(classes.length > 0 && { classes, label }),
  });
}

function waveforms(split: OpenDataOptions['split'], limit: number, data: TimeseriesData): DataSource {
  const { train, valid } = WAVEFORM_COUNTS;
  const count = Math.min({ train, valid, all: train + valid }[split], limit);
  const place = (index: number): [part: 'train' | 'valid', index: number] => {
    if (split === 'valid') return ['valid', index];
    return index < train ? ['train', index] : ['valid', index - train];
  };
  const read = async (index: number): Promise<Series> => {
    const values = waveform(...place(index));
    return { data: values, steps: values.length, channels: 1 };
  };
  return source(count, 'waveforms', data, read, {
    describe: (index) => `waveform ${place(index).join(' ')}`,
    classes: [...WAVEFORMS],
    label: (index) => place(index)[1] % WAVEFORMS.length,
    // As they will be in a batch of the training: cropped. CSV files tell no lengths: they would have to be read.
    sizes: () =>
      Float64Array.from({ length: count }, (_, index) => cropped(waveformLength(...place(index)), data)),
    license: 'CC0-1.0',
  });
}

/** A data source on top of a function that reads a series. */
function source(
  length: number,
  name: string,
  data: TimeseriesData,
  read: (index: number) => Promise<Series>,
  rest: Pick<DataSource, 'describe' | 'classes' | 'label' | 'license' | 'sizes'>,
): DataSource {
  return {
    length,
    name,
    ...rest,
    async get(index, rng, mode): Promise<Sample> {
      const series = standardise(await read(index));
      const shown = mode === 'train' ? augment(series, data, rng) : series;
      const label = rest.label?.(index) ?? -1;
      return {
        tensors: { source: { data: shown.data, shape: [shown.steps, shown.channels] } },
        ...(label >= 0 && { label }),
        id: index,
      };
    },
  };
}

/** Zero mean and unit variance per channel, so that units do not matter. */
function standardise({ data, steps, channels }: Series): Series {
  const result = new Float32Array(data.length);
  for (let c = 0; c < channels; c++) {
    let mean = 0;
    for (let t = 0; t < steps; t++) mean += data[t * channels + c]! / steps;
    let variance = 0;
    for (let t = 0; t < steps; t++) variance += (data[t * channels + c]! - mean) ** 2 / steps;
    const factor = 1 / Math.sqrt(variance + 1e-8);
    for (let t = 0; t < steps; t++) result[t * channels + c] = (data[t * channels + c]! - mean) * factor;
  }
  return { data: result, steps, channels };
}

/** A random crop with some noise. */
function augment(series: Series, settings: TimeseriesData, rng: Philox): Series {
  const { channels } = series;
  const { jitter } = settings;
  const steps = cropped(series.steps, settings);
  const from = rng.int(series.steps - steps + 1) * channels;
  const data = series.data.slice(from, from + steps * channels);
  if (jitter > 0) for (let i = 0; i < data.length; i++) data[i] = data[i]! + jitter * rng.normal();
  return { data, steps, channels };
}

/** Steps of a series in training. */
function cropped(steps: number, { crop_length }: TimeseriesData): number {
  return crop_length > 0 ? Math.min(crop_length, steps) : steps;
}
