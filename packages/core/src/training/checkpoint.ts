import { join } from 'node:path';
import type { RawTensor } from '@d2v/cuda-kernels';
import * as k from '@d2v/cuda-kernels';
import { type AnyConfig, modalitiesOf } from '../config/joint.js';
import type { Data2Vec } from '../data2vec/model.js';
import { D2vError } from '../errors.js';
import { openSafetensors, type SafetensorsFile } from '../interchange/safetensors.js';
import { type TensorEntry, writeSafetensors } from '../interchange/safetensors-writer.js';
import { assetEntries, type ModelAssets, weightNames } from './assets.js';
import { writeFileSynced } from './atomic-file.js';
import type { Adam } from './optimizer.js';
import { readTrainerState, type TrainerState } from './trainer-state.js';

export const MODEL_FILE = 'model.safetensors';
const OPTIMIZER_FILE = 'optimizer.safetensors';
const STATE_FILE = 'trainer.json';

/** Format of our model files; a reader refuses a higher one. */
export const FORMAT_VERSION = 1;

/**
 * Writes the files of a checkpoint into a folder, flushed to the disk.
 *
 * `model.safetensors` has the student under the reference's names and the teacher under `_ema.` + those names; with its
 * metadata (config, modality, update) and the assets it is all that is needed to use the model. `optimizer.safetensors` has Adam's
 * moments as `m.<name>` and `v.<name>`.
 * @param config without paths of this machine, see `portableConfig`
 */
export async function writeCheckpoint(
  folder: string,
  model: Data2Vec,
  optimizer: Adam,
  config: AnyConfig,
  state: TrainerState,
  assets: ModelAssets = {},
): Promise<void> {
  const entries = [...entriesOf(model.stateDict()), ...assetEntries(assets)];
  await writeSafetensors(join(folder, MODEL_FILE), entries, {
    format: 'd2v',
    format_version: String(FORMAT_VERSION),
    modality: modalitiesOf(config).join(','),
    update: String(state.update),
    config: JSON.stringify(config),
  });
  const views = moments(optimizer);
  try {
    await writeSafetensors(join(folder, OPTIMIZER_FILE), entriesOf(views), {
      format: 'd2v-optimizer',
      format_version: String(FORMAT_VERSION),
      update: String(state.update),
    });
  } finally {
    for (const view of views.values()) view.dispose();
  }
  await writeFileSynced(join(folder, STATE_FILE), `${JSON.stringify(state, null, 1)}\n`);
}

/**
 * Restores a checkpoint into a model and its optimizer, bit for bit.
 * @throws D2vError when files are damaged or belong to another model
 */
export async function readCheckpoint(
  folder: string,
  model: Data2Vec,
  optimizer: Adam,
): Promise<TrainerState> {
  const state = await readTrainerState(join(folder, STATE_FILE));
  readModelFile(join(folder, MODEL_FILE), (file) => {
    const tensors = new Map(
      weightNames(file).map((name) => [name, { data: file.readFloat32(name), shape: file.info(name).shape }]),
    );
    const { missing, unexpected } = model.loadState(tensors, { strict: true });
    if (missing.length + unexpected.length > 0) throw otherModel(folder, missing, unexpected);
  });
  readOptimizerFile(join(folder, OPTIMIZER_FILE), optimizer);
  optimizer.loadStepCounts(state.adamSteps);
  model.numUpdates = state.update;
  return state;
}

/** Opens a model file of ours and checks whose it is. The file is closed afterwards. */
export function readModelFile<T>(path: string, use: (file: SafetensorsFile) => T): T {
  const file = openSafetensors(path);
  try {
    const version = Number(file.metadata.get('format_version'));
    if (file.metadata.get('format') !== 'd2v' || !Number.isInteger(version)) {
      throw new D2vError(`${path} is not a model of this software (its metadata has no format "d2v")`);
    }
    if (version > FORMAT_VERSION) {
      throw new D2vError(
        `${path} was written by a newer version of @d2v/core (format ${version}); update it`,
      );
    }
    return use(file);
  } finally {
    file.close();
  }
}

function readOptimizerFile(path: string, optimizer: Adam): void {
  const file = openSafetensors(path);
  const views = moments(optimizer);
  try {
    const unknown = file.names.filter((name) => !views.has(name));
    const missing = [...views.keys()].filter((name) => !file.tensors.has(name));
    if (unknown.length + missing.length > 0) throw otherModel(path, missing, unknown);
    for (const [name, view] of views) {
      const { shape } = file.info(name);
      if (shape.join() !== view.shape.join()) {
        throw new D2vError(`${path}: ${name} has shape [${shape}], this model needs [${view.shape}]`);
      }
      k.writeBytes_(view, file.read(name));
    }
  } finally {
    file.close();
    for (const view of views.values()) view.dispose();
  }
}

function moments({ arena }: Adam): Map<string, RawTensor> {
  const named = (which: 'm' | 'v') =>
    [...arena.named(which)].map(([name, view]) => [`${which}.${name}`, view] as const);
  return new Map([...named('m'), ...named('v')]);
}

function* entriesOf(tensors: Map<string, RawTensor>): Generator<TensorEntry> {
  for (const [name, raw] of tensors) {
    yield { name, dtype: raw.dtype, shape: raw.shape, bytes: () => k.bytes(raw) };
  }
}

function otherModel(where: string, missing: readonly string[], unexpected: readonly string[]): D2vError {
  const list = (names: readonly string[]) =>
    `${names.slice(0, 3).join(', ')}${names.length > 3 ? ` and ${names.length - 3} more` : ''}`;
  const parts = [
    missing.length > 0 ? `it lacks ${list(missing)}` : '',
    unexpected.length > 0 ? `it has ${list(unexpected)} too many` : '',
  ].filter(Boolean);
  return new D2vError(
    `${where} belongs to another model: ${parts.join('; ')}; resume with the model settings of the run's config.yaml`,
  );
}
