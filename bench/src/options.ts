/** The command line of `pnpm bench`. */
import { parseArgs } from 'node:util';
import { D2vError } from '@d2v/core';
import { GPUS } from './roofline.js';

export interface BenchOptions {
  modality: string;
  preset: string;
  /** Measured updates of each side; null = the workload's own number. */
  updates: number | null;
  /** Compare with PyTorch in the same run: as it is, compiled. */
  eager: boolean;
  compiled: boolean;
  /** Samples of an update and masks per sample, of both sides; null = the workload's own. */
  batch: number | null;
  clones: number | null;
  /** Only watch memory over many updates. */
  memory: boolean;
  /** Only predict the time on this GPU (a name of roofline.ts) from the operations counted. */
  predict: string | null;
  /** Measure how long updates wait for data. */
  data: boolean;
  threads: number;
  device: string;
  dtype: 'f32' | 'bf16';
  json: boolean;
  /** More settings, as `d2v train --set`. */
  set: string[];
}

export const usage = `pnpm bench <modality> [options]

Time of whole updates (mask, forward, backward, clip, Adam, EMA) as a share of what matrix products alone reach in the
same process.

  --preset <name>   the workload (default: the modality's first)
  --updates <n>     measured updates (default: as many as take about a minute)
  --eager           also run the same model in PyTorch, in turns with ours (needs python3 with torch)
  --compiled        also run it as torch.compile makes it
  --peer            both
  --batch <n>       samples of an update (default: the workload's), of both sides
  --clones <n>      masks per sample (default: the workload's), of both sides
  --memory          instead: watch memory over --updates updates (default 500); exit code 1 if it grows
  --predict <gpu>   instead: the least time that an update can take on a100, h100 or h200, from counted FLOPs and bytes;
                    needs no GPU
  --no-data         leave out how long updates wait for data
  --threads <n>     threads of both sides (default: all cores)
  --device <name>   cpu (default) or cuda, for both sides; a GPU gets larger batches
  --dtype <name>    f32 (default on a CPU) or bf16 (default on a GPU), for both sides
  --set <key=value> another setting of the run config; may be repeated, not with PyTorch
  --json            print one JSON object instead of tables

D2V_PROFILE=1 adds time per phase and per operation.`;

/** Whether a device is a GPU. */
export const onGpu = (device: string): boolean => device.startsWith('cuda');

/** @throws D2vError for anything that is not understood */
export function parseOptions(argv: readonly string[]): BenchOptions | 'help' {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(argv);
  } catch (error) {
    throw new D2vError(`${(error as Error).message}\n\n${usage}`);
  }
  const { values, positionals } = parsed;
  if (values.help) return 'help';
  const [modality, ...rest] = positionals;
  if (!modality || rest.length > 0)
    throw new D2vError(`name one modality, e.g. pnpm bench image\n\n${usage}`);
  const device = values.device === 'cuda' ? 'cuda:0' : values.device;
  const dtype = values.dtype ?? (onGpu(device) ? 'bf16' : 'f32');
  if (dtype !== 'f32' && dtype !== 'bf16') throw new D2vError('--dtype must be f32 or bf16');
  const eager = values.peer || values.eager;
  const compiled = values.peer || values.compiled;
  if ((eager || compiled) && values.set.length > 0)
    throw new D2vError('--set changes our side only: not with --peer, --eager or --compiled');
  const optional = (name: 'updates' | 'batch' | 'clones') =>
    values[name] === undefined ? null : count(`--${name}`, values[name]);
  return {
    modality,
    preset: values.preset ?? '',
    updates: optional('updates'),
    eager,
    compiled,
    batch: optional('batch'),
    clones: optional('clones'),
    memory: values.memory,
    predict: values.predict === undefined ? null : gpuName(values.predict),
    data: !values['no-data'],
    threads: values.threads === undefined ? 0 : count('--threads', values.threads),
    device,
    dtype,
    json: values.json,
    set: values.set,
  };
}

function parse(argv: readonly string[]) {
  return parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      preset: { type: 'string' },
      updates: { type: 'string' },
      peer: { type: 'boolean', default: false },
      eager: { type: 'boolean', default: false },
      compiled: { type: 'boolean', default: false },
      batch: { type: 'string' },
      clones: { type: 'string' },
      memory: { type: 'boolean', default: false },
      predict: { type: 'string' },
      'no-data': { type: 'boolean', default: false },
      threads: { type: 'string' },
      device: { type: 'string', default: 'cpu' },
      dtype: { type: 'string' },
      set: { type: 'string', multiple: true, default: [] },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
}

function gpuName(name: string): string {
  if (Object.hasOwn(GPUS, name)) return name;
  throw new D2vError(`--predict must be one of ${Object.keys(GPUS).join(', ')}`);
}

function count(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new D2vError(`${name} must be a whole number above 0`);
  return value;
}
