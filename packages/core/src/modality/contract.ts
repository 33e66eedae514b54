/**
 * The plugin contract: everything that core and the CLI know about a modality.
 *
 * A plugin is an npm package whose default export is `defineModality({...})`. Core never names a modality and never
 * imports one by itself: see `registry.ts` for how installed plugins are found.
 */
import type { z } from 'zod';
import { sharedKey } from '../config/joint.js';
import type { Plain } from '../config/layer.js';
import type { DataConfig, RunConfigInput } from '../config/schema.js';
import type { EncoderContext, ModalityEncoder } from '../data2vec/index.js';
import type { ManagedDataset } from '../datasets/types.js';
import { D2vError } from '../errors.js';
import type { Philox } from '../random.js';
import { checkCommands, type ModalityCommand } from './commands.js';

export type { DataConfig } from '../config/schema.js';

/** Version of this contract. A plugin states the one it was written for in `api` and in its package.json. */
export const MODALITY_API = 1;

/** A host-side array with its shape; plain data, so it crosses worker threads by transfer. */
export interface HostTensor {
  data: Float32Array | Int32Array | Uint8Array;
  /** Row-major; the product is `data.length`. */
  shape: number[];
}

/** One decoded (and in training augmented) element of a dataset. */
export interface Sample {
  tensors: Record<string, HostTensor>;
  /** Class index, if the dataset is labelled. */
  label?: number;
  /** Index in the dataset. */
  id: number;
}

/** What the encoder consumes: samples put together, before the model repeats them `clone_batch` times. */
export interface Batch {
  size: number;
  /** First dimension is `size`; e.g. `source` f32 [B,3,H,W], `padding` u8 [B,T] with 1 = padding. */
  tensors: Record<string, HostTensor>;
  labels?: Int32Array;
  /** Dataset indices, one per sample. */
  ids: number[];
}

/** What travels inside a checkpoint beside the weights: contents by file name (letters, digits, `.`, `-`, `_`). */
export type Assets = Readonly<Record<string, Uint8Array>>;

/** Random access to samples. Implementations must be cheap to open: every loader worker opens its own. */
export interface DataSource {
  readonly length: number;
  readonly name: string;
  /** Class names by label, if labelled. */
  readonly classes?: string[];
  readonly license?: string;
  /**
   * Reads one sample. The same (index, rng state, mode) gives the same sample, whatever the worker count.
   * @throws BadSampleError for a damaged file: the loader skips, counts and lists it
   */
  get(index: number, rng: Philox, mode: 'train' | 'eval'): Promise<Sample>;
  /** A file name or identification for messages and for the index beside embeddings. */
  describe(index: number): string;
  /** Name of a sample beside its embedding, where `describe` says more, such as the shard it lies in. */
  key?(index: number): string;
  /** Label without decoding, if known; used to choose class-balanced subsets. */
  label?(index: number): number;
  /**
   * Length of each sample as it will be in a batch (after cropping and limits), in the modality's `sizeUnit`: what
   * `data.batch_length` counts. 0 where it cannot be told (an unreadable file): such a sample is batched as one of
   * average length. Must not decode anything, and not depend on the split into threads.
   */
  sizes?(): Float64Array;
  /**
   * Of samples that lie in shards: index of the first sample of each, ascending from 0; the samples of one follow each other as
   * in its file. What `data.shuffle: shards` reads in this order.
   */
  shards?(): ArrayLike<number>;
  /**
   * Files without which the model cannot be used, by plain file names, e.g. `tokenizer.json`. They are saved inside the
   * checkpoint and come back as `OpenDataOptions.assets`. The same for every part of the data.
   */
  assets?(): Assets;
  close?(): Promise<void>;
}

/** Recursively optional; arrays and scalars are replaced as a whole. */
export type DeepPartial<T> = T extends readonly unknown[]
  ? T
  : T extends object
    ? { [K in keyof T]?: DeepPartial<T[K]> }
    : T;

/** A named starting point: a part of a run config that lies below the user's own settings. */
export interface Preset {
  /** One line for listings: what it is for and what it needs. */
  description: string;
  config: DeepPartial<RunConfigInput>;
}

/** A dataset that the plugin can open by name. */
export interface DatasetInfo {
  description: string;
  license: string;
  /** Human-readable: number of samples and download size. */
  size: string;
}

export type DataSplit = 'train' | 'valid' | 'all';

export interface OpenDataOptions {
  split: DataSplit;
  /** Where downloads and prepared data are kept; made on demand. */
  cacheDir: string;
  log(message: string): void;
  /** Never use the network: a dataset that is not in the cache is an error with the remedy. */
  offline?: boolean;
  /**
   * `assets()` of the data that the model was (or is being) trained on: from its checkpoint, or from the main thread for
   * a loader thread. To be used in place of the files that `data` names. Absent when a new run opens its data.
   */
  assets?: Assets;
}

/** How files named by the user are opened. */
export type OpenInputsOptions = Pick<OpenDataOptions, 'assets' | 'cacheDir'> &
  Partial<Pick<OpenDataOptions, 'log'>>;

/** What `preview` gets: samples and the features of their tokens, for a picture that a person can judge. */
export interface PreviewArgs<D = unknown> {
  samples: Sample[];
  /** Token features of each sample, f32 [tokens, width], extra tokens dropped. */
  features: HostTensor[];
  /** The `data` section, to undo what was done to the samples. */
  data: D & DataConfig;
}

/** Optional parts of the conformance suite that a modality takes part in. */
export interface ModalitySupports {
  /** Samples of different lengths can share a batch; features must not depend on the padding. */
  padding?: boolean;
  /** Samples carry labels, so that kNN and linear probes make sense. */
  labels?: boolean;
  /** `preview` is implemented. */
  preview?: boolean;
}

/**
 * A modality plugin.
 * @typeParam C parsed `model.modalities.<name>`
 * @typeParam D the plugin's own keys of the `data` section, parsed
 */
// biome-ignore lint/suspicious/noExplicitAny: a list of plugins has many types of C and D at once
export interface Modality<C = any, D = any> {
  /** Lower case, e.g. `image`; state-dict keys use the upper case. */
  name: string;
  /** The contract version it was written for: `MODALITY_API` at that time. */
  api: number;
  /** `import.meta.url` of the plugin's entry: loader workers import it. */
  moduleUrl: string;
  /** Schema of `model.modalities.<name>`; every key with a default and a `.describe()`. */
  configSchema: z.ZodType<C>;
  /** Schema of the modality's own keys of `data`. */
  dataSchema: z.ZodType<D>;
  presets: Record<string, Preset>;
  /** The preset used when none is named; without it, the first one of `presets`. */
  defaultPreset?: string;
  /**
   * What a run of several modalities changes of this one's own part of the preset of the same name: keys of
   * `model.modalities.<name>`, `data` and `eval`. What modalities share comes from core's joint preset of that name.
   */
  jointPresets?: Record<string, DeepPartial<RunConfigInput>>;
  supports: ModalitySupports;
  /**
   * The modality's own keys of `data` that hold a path, or a name: in a run folder they are stored relative to it, in a
   * checkpoint without their folder. A value with a slash, or that exists, is taken for a path.
   */
  pathKeys?: readonly string[];
  /** What `DataSource.sizes` counts, as a plural noun: `seconds`, `tokens`. Needed for `data.batch_length`. */
  sizeUnit?: string;
  createEncoder(ctx: EncoderContext<C>): ModalityEncoder;
  openData(data: D & DataConfig, opts: OpenDataOptions): Promise<DataSource>;
  /**
   * What the user names, in the given order (folders sorted), without augmentation and without a split: files, folders, and
   * whatever else `data.path` may be (tar shards, manifests).
   */
  openInputs(paths: string[], data: D & DataConfig, opts: OpenInputsOptions): Promise<DataSource>;
  /**
   * Whether a file is of this modality, by its name or its first bytes: how `d2v embed` chooses among the modalities of a
   * model. Never called for folders. Without it, users of such a model name the modality.
   */
  accepts?(file: string): boolean;
  collate(samples: Sample[], data: D & DataConfig): Batch;
  /**
   * Datasets by name (`data.dataset`): small ones that `openData` fetches by itself, and those that `d2v data` downloads and
   * prepares (made with `defineDataset`), which `openData` opens with `openDataset`.
   */
  datasets: Record<string, DatasetInfo | ManagedDataset>;
  /**
   * Settings that follow from other settings: a dataset's own augmentation, the input size of the model. Gets preset
   * and user settings merged but unchecked; what it returns lies above the schemas' defaults and below both of them.
   */
  suggest?(settings: DeepPartial<RunConfigInput>): DeepPartial<RunConfigInput>;
  /** What a naive user would compare with, e.g. raw pixels. */
  baseline?: { name: string; features(sample: Sample): Float32Array };
  /** A PNG with inputs beside a picture of their token features. */
  preview?(args: PreviewArgs<D>): Promise<Uint8Array>;
  /** Fine-tuning heads by task name. */
  tasks?: Record<string, unknown>;
  /** Commands of the `d2v` program; their first words stand in package.json, too. */
  commands?: readonly ModalityCommand[];
}

const NAME = /^[a-z][a-z0-9-]*$/;

/**
 * Checks and returns a plugin. The `api` it states is compared when the registry loads it, so that a package built for
 * another core gives a readable message.
 * @throws D2vError if a part is missing or of the wrong type
 */
export function defineModality<C, D>(modality: Modality<C, D>): Modality<C, D> {
  const name = typeof modality?.name === 'string' ? modality.name : '?';
  const fail = (what: string): never => {
    throw new D2vError(`modality "${name}": ${what}`);
  };
  if (!NAME.test(name)) fail('name must be lower case letters, digits and dashes, starting with a letter');
  if (!Number.isInteger(modality.api)) fail(`api must be a whole number (this core has ${MODALITY_API})`);
  if (typeof modality.moduleUrl !== 'string' || !modality.moduleUrl.startsWith('file:')) {
    fail('moduleUrl must be import.meta.url of the plugin entry');
  }
  for (const key of ['configSchema', 'dataSchema'] as const) {
    if (typeof modality[key]?.safeParse !== 'function') fail(`${key} must be a schema made with core's z`);
  }
  for (const key of ['createEncoder', 'openData', 'openInputs', 'collate'] as const) {
    if (typeof modality[key] !== 'function') fail(`${key} must be a function`);
  }
  if (modality.sizeUnit !== undefined && typeof modality.sizeUnit !== 'string') {
    fail('sizeUnit must be a plural noun, e.g. "seconds"');
  }
  for (const key of ['presets', 'datasets', 'supports'] as const) {
    if (typeof modality[key] !== 'object' || modality[key] === null) fail(`${key} must be an object`);
  }
  const presets = Object.keys(modality.presets);
  if (presets.length === 0) fail('presets must have at least one entry');
  if (modality.defaultPreset !== undefined && !presets.includes(modality.defaultPreset)) {
    fail(`defaultPreset "${modality.defaultPreset}" is not one of its presets (${presets.join(', ')})`);
  }
  for (const [preset, config] of Object.entries(modality.jointPresets ?? {})) {
    const key = sharedKey(config as Plain, name);
    if (key) fail(`jointPresets.${preset} sets ${key}, which is not this modality's alone`);
  }
  checkCommands(modality.commands ?? [], fail);
  return modality;
}
