import { setImmediate as yieldToEvents } from 'node:timers/promises';
import type { RunConfig } from '../config/schema.js';
import { type BatchBounds, boundsOf } from '../data/batches.js';
import { automaticWorkers, DataLoader } from '../data/loader.js';
import type { SourceSpec } from '../data/protocol.js';
import { POOLS } from '../data2vec/features.js';
import type { Data2Vec } from '../data2vec/model.js';
import { D2vError } from '../errors.js';
import { dataCacheDir } from '../modality/cache-dir.js';
import type { Assets, Batch, DataSource, Modality, Sample } from '../modality/contract.js';
import { batchFeatures, evaluationJobs, type FeatureChoice } from './feature-batches.js';

/** Files, folders, and what else `data.path` may be; a data source, samples, or a collated batch. */
export type EmbedInput = readonly string[] | DataSource | readonly Sample[] | Batch;

export interface EmbedOptions extends FeatureChoice {
  /**
   * Most samples per forward pass. Default: `data.batch_size` and `data.batch_length` of the model's run. Results do not
   * depend on it.
   */
  batchSize?: number;
  /** Whose the inputs are, for a model of several modalities. Default: each plugin says which files it takes. */
  modality?: string;
  /** Loader threads for files; default: by the number of inputs and cores. */
  numWorkers?: number;
  /** Told about each damaged input, which is left out. Without it, a damaged input is an error. */
  onBad?: (file: string, reason: string) => void;
  /** Told what is odd about the files but does not keep them from being used. */
  log?: (message: string) => void;
  /** Aborting it ends the stream with its reason. */
  signal?: AbortSignal;
}

/** Features of some samples. */
export interface EmbeddedBatch {
  /** [B, D], or [B, T, D] for `pool` none. */
  data: Float32Array;
  shape: number[];
  /** u8 [B, T], 1 = padding; only with `pool` none and inputs of different lengths. */
  padding: Uint8Array | null;
  /** Index of each sample in its source. */
  ids: number[];
  /** Name of each: of its file, or its key in a shard. */
  names: string[];
  labels?: Int32Array;
  classes?: readonly string[];
  /** Of these samples, if the model has several. */
  modality?: string;
}

/** Features of all samples; `data` is [N, D], or [N, T, D] for `pool` none. */
export type Embeddings = EmbeddedBatch;

/** What embedding needs of a loaded model. */
export interface Embedder {
  readonly model: Data2Vec;
  readonly modality: Modality;
  readonly config: RunConfig;
  readonly assets?: Assets;
}

/** Features batch by batch, in the order of the inputs. */
export async function* embedBatches(
  embedder: Embedder,
  input: EmbedInput,
  options: EmbedOptions,
): AsyncGenerator<EmbeddedBatch> {
  checkChoice(embedder, options);
  const choice = {
    ...options,
    network: options.network ?? (embedder.model.teacher ? 'teacher' : 'student'),
  } as const;
  for await (const { batch, source } of batchesOf(embedder, input, options)) {
    options.signal?.throwIfAborted();
    const features = batchFeatures(embedder.model, embedder.modality.name, batch, choice);
    const names = batch.ids.map((id) => source?.key?.(id) ?? source?.describe(id) ?? String(id));
    yield { ...features, ids: batch.ids, names, labels: batch.labels, classes: source?.classes };
    await yieldToEvents();
  }
}

function checkChoice({ model, modality }: Embedder, { layer, network, pool }: EmbedOptions): void {
  const depth = model.layerCount(modality.name);
  if (layer !== undefined && layer !== null && !(Number.isInteger(layer) && layer >= 0 && layer <= depth)) {
    throw new D2vError(
      `layer must be a whole number from 0 (input of the first block) to ${depth}; got ${layer}`,
    );
  }
  for (const [name, value, known] of [
    ['network', network, ['student', 'teacher']],
    ['pool', pool, POOLS],
  ] as const) {
    if (value !== undefined && !(known as readonly string[]).includes(value)) {
      throw new D2vError(`${name} must be one of ${known.join(', ')}; got "${value}"`);
    }
  }
}

interface SourcedBatch {
  batch: Batch;
  source?: DataSource;
}

async function* batchesOf(
  embedder: Embedder,
  input: EmbedInput,
  options: EmbedOptions,
): AsyncGenerator<SourcedBatch> {
  const { modality, config, assets } = embedder;
  const bounds = boundsOf(config.data);
  if (options.batchSize !== undefined) bounds.samples = options.batchSize;
  if (isSource(input)) return yield* fromSource(embedder, input, bounds, options);
  if (isBatch(input)) return yield { batch: input };
  if (arePaths(input)) {
    const paths = [...input];
    const cacheDir = dataCacheDir(config.data.cache_dir);
    const source = await modality.openInputs(paths, config.data, { cacheDir, assets, log: options.log });
    try {
      yield* fromSource(embedder, source, bounds, options, { kind: 'inputs', paths, cacheDir, assets });
    } finally {
      await source.close?.();
    }
    return;
  }
  const samples = input as readonly Sample[];
  const size = bounds.samples ?? 1;
  for (let i = 0; i < samples.length; i += size) {
    yield { batch: modality.collate(samples.slice(i, i + size), config.data) };
  }
}

async function* fromSource(
  { modality, config }: Embedder,
  source: DataSource,
  bounds: BatchBounds,
  options: EmbedOptions,
  open?: SourceSpec['open'],
): AsyncGenerator<SourcedBatch> {
  const { data, common } = config;
  const wanted = options.numWorkers ?? (source.length > 4 * (bounds.samples ?? 1) ? automaticWorkers() : 0);
  const loader = new DataLoader({
    jobs: evaluationJobs(source, bounds),
    workers: open ? wanted : 0,
    prefetch: data.prefetch,
    timeoutSeconds: data.worker_timeout_seconds,
    local: { source, modality, data, seed: common.seed },
    spec: open && { moduleUrl: modality.moduleUrl, data, open, seed: common.seed },
  });
  try {
    for (let loaded = await loader.next(); loaded; loaded = await loader.next()) {
      for (const { file, reason } of loaded.bad) {
        if (!options.onBad) throw new D2vError(`${file}: ${reason}`);
        options.onBad(file, reason);
      }
      if (loaded.batch) yield { batch: loaded.batch, source };
    }
  } finally {
    await loader.close();
  }
}

/** Puts batches together. @throws D2vError when there are none, or samples have different numbers of tokens */
export async function collect(batches: AsyncIterable<EmbeddedBatch>): Promise<Embeddings> {
  const parts: EmbeddedBatch[] = [];
  for await (const part of batches) parts.push(part);
  const [first] = parts;
  if (!first) throw new D2vError('there is nothing to embed: no input could be read');
  const [, ...rest] = first.shape;
  for (const { shape, padding } of parts) {
    if (shape.slice(1).join() === rest.join() && !(padding && rest.length > 1)) continue;
    throw new D2vError('the inputs have different numbers of tokens: use pool mean or cls, or embedStream');
  }
  const data = new Float32Array(parts.reduce((sum, part) => sum + part.data.length, 0));
  let at = 0;
  for (const part of parts) {
    data.set(part.data, at);
    at += part.data.length;
  }
  const labelled = parts.every((part) => part.labels);
  return {
    data,
    shape: [parts.reduce((sum, part) => sum + part.ids.length, 0), ...rest],
    padding: null,
    ids: parts.flatMap((part) => part.ids),
    names: parts.flatMap((part) => part.names),
    labels: labelled ? Int32Array.from(parts.flatMap((part) => [...part.labels!])) : undefined,
    classes: first.classes,
  };
}

function isSource(input: EmbedInput): input is DataSource {
  return typeof (input as DataSource).get === 'function';
}

/** Whether inputs are files and folders. */
export function arePaths(input: EmbedInput): input is readonly string[] {
  return Array.isArray(input) && input.every((item) => typeof item === 'string');
}

function isBatch(input: EmbedInput): input is Batch {
  return typeof (input as Batch).size === 'number' && !Array.isArray(input);
}
