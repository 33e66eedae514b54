import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { objectLayer, type Plain } from '../config/layer.js';
import { parseResolved } from '../config/resolve.js';
import type { RunConfig } from '../config/schema.js';
import { Data2Vec } from '../data2vec/model.js';
import { TEACHER_PREFIX } from '../data2vec/state.js';
import { D2vError } from '../errors.js';
import type { Assets, Modality } from '../modality/contract.js';
import { loadModality } from '../modality/registry.js';
import { readAssets, weightNames } from './assets.js';
import { MODEL_FILE, readModelFile } from './checkpoint.js';
import { type CheckpointPointer, findCheckpoint } from './checkpoint-store.js';
import {
  collect,
  type EmbeddedBatch,
  type Embeddings,
  type EmbedInput,
  type EmbedOptions,
  embedBatches,
} from './embed.js';
import { resolveDevice } from './machine.js';

export interface LoadModelOptions {
  /** `cpu` (default), `cuda:0` or `auto`. */
  device?: string;
  /** The plugin. Default: the installed one that the model's modality names. */
  modality?: Modality;
  /** Of a run folder: the last (default) or the best checkpoint. */
  which?: CheckpointPointer;
}

/**
 * Loads a model for use. The file alone suffices: config and modality travel in it, and architecture follows from them.
 *
 * @param path a run folder, a checkpoint folder, or a `model.safetensors` file
 * @throws D2vError when there is no model, it is damaged, or its modality is not installed
 */
export async function loadModel(path: string, options: LoadModelOptions = {}): Promise<LoadedModel> {
  const isFile = (await stat(path).catch(() => null))?.isFile() ?? false;
  const isModel = isFile && path.endsWith('.safetensors');
  const file = isModel ? path : join(await findCheckpoint(path, options.which), MODEL_FILE);
  const {
    modality: name,
    config: stored,
    update,
    teacher,
    assets,
  } = readModelFile(file, (opened) => ({
    modality: opened.metadata.get('modality') ?? '',
    config: opened.metadata.get('config') ?? '',
    update: Number(opened.metadata.get('update') ?? 0),
    teacher: opened.names.some((tensor) => tensor.startsWith(TEACHER_PREFIX)),
    assets: readAssets(opened),
  }));
  const modality = options.modality ?? (await loadModality(name));
  if (modality.name !== name) {
    throw new D2vError(`${file} is a model of the modality "${name}", not "${modality.name}"`);
  }
  const config = parseConfig(stored, modality, file);
  const model = Data2Vec.create({
    config: config.model,
    modalities: [modality],
    seed: config.common.seed,
    device: resolveDevice(options.device ?? 'cpu'),
    dtype: config.common.dtype,
    pretraining: false,
    teacher,
  });
  try {
    readModelFile(file, (tensors) => {
      const read = weightNames(tensors).map(
        (name) => [name, { data: tensors.readFloat32(name), shape: tensors.info(name).shape }] as const,
      );
      model.loadState(new Map(read), { strict: true });
    });
  } catch (error) {
    model.dispose();
    throw error;
  }
  model.numUpdates = update;
  return new LoadedModel(model, config, modality, update, assets[modality.name]);
}

function parseConfig(text: string, modality: Modality, file: string): RunConfig {
  let value: Plain;
  try {
    value = JSON.parse(text) as Plain;
  } catch (error) {
    throw new D2vError(`${file} carries no config; it cannot be loaded on its own`, { cause: error });
  }
  return parseResolved(modality, objectLayer(value, `the config in ${file}`));
}

/** A model that was loaded for use: features of inputs, samples or batches. */
export class LoadedModel {
  constructor(
    /** The network itself. */
    readonly model: Data2Vec,
    readonly config: RunConfig,
    readonly modality: Modality,
    /** Updates it was trained for. */
    readonly update: number,
    /** Files that came with the weights; data for the model is opened with them. */
    readonly assets?: Assets,
  ) {}

  /** Blocks that `layer` can name, the modality's own first. */
  get depth(): number {
    return this.model.layerCount(this.modality.name);
  }

  /** Numbers per feature. */
  get width(): number {
    return this.config.model.embed_dim;
  }

  /**
   * Features of all inputs at once.
   * @param input files and folders, a data source, samples, or a collated batch
   * @returns [N, D] for `pool` mean and cls; [N, T, D] for none
   */
  async embed(input: EmbedInput, options: EmbedOptions = {}): Promise<Embeddings> {
    return collect(this.embedStream(input, options));
  }

  /** The same, batch by batch, for inputs that do not fit into memory. */
  embedStream(input: EmbedInput, options: EmbedOptions = {}): AsyncGenerator<EmbeddedBatch> {
    return embedBatches(this, input, options);
  }

  dispose(): void {
    this.model.dispose();
  }
}
