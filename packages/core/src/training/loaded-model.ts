import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Layer, objectLayer, type Plain } from '../config/layer.js';
import { type Changes, overrideConfig, parseResolved } from '../config/resolve.js';
import type { RunConfig } from '../config/schema.js';
import { didYouMean } from '../config/suggest.js';
import { Data2Vec, keyOf } from '../data2vec/model.js';
import { TEACHER_PREFIX } from '../data2vec/state.js';
import { D2vError } from '../errors.js';
import type { Assets, Modality } from '../modality/contract.js';
import { usualPackage } from '../modality/registry.js';
import { readAssets, weightNames } from './assets.js';
import { MODEL_FILE, readModelFile } from './checkpoint.js';
import { type CheckpointPointer, findCheckpoint } from './checkpoint-store.js';
import {
  arePaths,
  collect,
  type EmbeddedBatch,
  type Embeddings,
  type EmbedInput,
  type EmbedOptions,
  embedBatches,
} from './embed.js';
import { resolveDevice, resolveDtype } from './machine.js';
import { chosenModalities, type ModalityChoice } from './model-modalities.js';
import { routeInputs } from './route-inputs.js';

export interface LoadModelOptions extends ModalityChoice {
  /** `cpu`, `cuda` (or `cuda:1`, ...), or `auto` (default): the first GPU, else the CPU. */
  device?: string;
  /** Of a run folder: the last (default) or the best checkpoint. */
  which?: CheckpointPointer;
}

/**
 * Loads a model for use. The file alone suffices: config and modalities travel in it, and architecture follows from them.
 * Of a model of several modalities, the parts are loaded whose plugins are installed, or those that `modality` or
 * `modalities` name.
 *
 * `common.tf32` of its run is not applied: that is a state of the whole device, on which other models may be training.
 * `raw.setTf32` switches it.
 *
 * @param path a run folder, a checkpoint folder, or a `model.safetensors` file
 * @throws D2vError when there is no model, it is damaged, or its modality is not installed
 */
export async function loadModel(path: string, options: LoadModelOptions = {}): Promise<LoadedModel> {
  const isFile = (await stat(path).catch(() => null))?.isFile() ?? false;
  const isModel = isFile && path.endsWith('.safetensors');
  const file = isModel ? path : join(await findCheckpoint(path, options.which), MODEL_FILE);
  const { names, stored, update, teacher, assets } = readModelFile(file, (opened) => ({
    names: (opened.metadata.get('modality') ?? '').split(','),
    stored: storedConfig(opened.metadata.get('config'), file),
    update: Number(opened.metadata.get('update') ?? 0),
    teacher: opened.names.some((tensor) => tensor.startsWith(TEACHER_PREFIX)),
    assets: readAssets(opened),
  }));
  const modalities = await chosenModalities(names, options, file);
  const parts = modalities.map((modality) => ({
    modality,
    config: parseResolved(modality, stored),
    assets: assets[modality.name],
  }));
  const absent = names.filter((name) => !parts.some(({ modality }) => modality.name === name));
  const model = createModel(parts, resolveDevice(options.device ?? 'auto'), teacher);
  try {
    readModelFile(file, (tensors) => {
      const read = weightNames(tensors)
        .filter((tensor) => !absent.some((name) => belongsTo(tensor, name)))
        .map((name) => [name, { data: tensors.readFloat32(name), shape: tensors.info(name).shape }] as const);
      model.loadState(new Map(read), { strict: true });
    });
  } catch (error) {
    model.dispose();
    throw error;
  }
  model.numUpdates = update;
  return new LoadedModel(model, update, parts, absent);
}

/** What a loaded model knows of one of its modalities. */
export interface LoadedPart {
  modality: Modality;
  /** The config of the model's run, as the modality sees it. */
  config: RunConfig;
  /** Files that came with the weights; data for the model is opened with them. */
  assets?: Assets;
}

function createModel(parts: readonly LoadedPart[], device: string, teacher: boolean): Data2Vec {
  const { model, common } = parts[0]!.config;
  const modalities = Object.assign({}, ...parts.map(({ config }) => config.model.modalities));
  return Data2Vec.create({
    config: { ...model, modalities },
    modalities: parts.map(({ modality }) => modality),
    seed: common.seed,
    device,
    dtype: resolveDtype(common.dtype, device),
    pretraining: false,
    teacher,
  });
}

/** Whether a tensor is of the part of a modality that it shares with no other. */
function belongsTo(tensor: string, modality: string): boolean {
  const own = `modality_encoders.${keyOf(modality)}.`;
  return tensor.startsWith(own) || tensor.startsWith(TEACHER_PREFIX + own);
}

function storedConfig(text: string | undefined, file: string): Layer {
  try {
    return objectLayer(JSON.parse(text ?? '') as Plain, `the config in ${file}`);
  } catch (error) {
    throw new D2vError(`${file} carries no config; it cannot be loaded on its own`, { cause: error });
  }
}

/**
 * A model that was loaded for use: features of inputs, samples or batches. One of several modalities finds out which one
 * files are of; `for` gives it as if it were of one modality alone, and that is what `modality`, `config`, `assets` and
 * `depth` need.
 */
export class LoadedModel {
  /** Names of the modalities that are loaded. */
  readonly modalities: readonly string[];

  constructor(
    /** The network itself. */
    readonly model: Data2Vec,
    /** Updates it was trained for. */
    readonly update: number,
    private readonly parts: readonly LoadedPart[],
    /** Modalities of the file that are not loaded. */
    readonly absent: readonly string[] = [],
  ) {
    this.modalities = parts.map(({ modality }) => modality.name);
  }

  get modality(): Modality {
    return this.sole.modality;
  }

  get config(): RunConfig {
    return this.sole.config;
  }

  get assets(): Assets | undefined {
    return this.sole.assets;
  }

  /** Blocks that `layer` can name, the modality's own first. */
  get depth(): number {
    return this.model.layerCount(this.modality.name);
  }

  /** Numbers per feature. */
  get width(): number {
    return this.parts[0]!.config.model.embed_dim;
  }

  /**
   * The model as one of its modalities sees it. It is the same network: `dispose` frees it for all.
   * @throws D2vError if the modality is not loaded
   */
  for(modality: string): LoadedModel {
    const part = this.parts.find((one) => one.modality.name === modality);
    if (part) return this.parts.length === 1 ? this : new LoadedModel(this.model, this.update, [part]);
    const has = `this model has ${this.modalities.join(', ')}`;
    throw new D2vError(
      this.absent.includes(modality)
        ? `${has}; its ${modality} part is not loaded: npm install ${usualPackage(modality)} (or name it in the option modalities)`
        : `${has}, not ${modality}${didYouMean(modality, this.modalities, 0)}`,
    );
  }

  /**
   * The same network, for inputs that are read with other settings of `data`: another JSONL field, another batch size.
   * `dispose` of either frees it.
   * @param changes to the config as the modality sees it
   * @throws D2vError naming key and origin
   */
  configured(changes: (modality: string) => Changes): LoadedModel {
    const parts = this.parts.map((part) => ({
      ...part,
      config: overrideConfig(part.modality, part.config, changes(part.modality.name)),
    }));
    return new LoadedModel(this.model, this.update, parts, this.absent);
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
    const { modality } = options;
    if (modality !== undefined)
      return this.for(modality).embedStream(input, { ...options, modality: undefined });
    return this.parts.length === 1
      ? embedBatches({ model: this.model, ...this.sole }, input, options)
      : this.routed(input, options);
  }

  dispose(): void {
    this.model.dispose();
  }

  private async *routed(input: EmbedInput, options: EmbedOptions): AsyncGenerator<EmbeddedBatch> {
    if (!arePaths(input)) throw this.ambiguous();
    const plugins = this.parts.map(({ modality }) => modality);
    for (const { modality, paths } of await routeInputs(input, plugins)) {
      for await (const batch of this.for(modality).embedStream(paths, options)) yield { ...batch, modality };
    }
  }

  private get sole(): LoadedPart {
    if (this.parts.length !== 1) throw this.ambiguous();
    return this.parts[0]!;
  }

  private ambiguous(): D2vError {
    return new D2vError(
      `this model has ${this.modalities.join(', ')}: say which is meant, with model.for('${this.modalities[0]}') or the option modality`,
    );
  }
}
