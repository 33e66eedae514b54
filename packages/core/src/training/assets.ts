/**
 * Files that travel with the weights, so that `model.safetensors` alone suffices to use a model: u8 tensors
 * `asset.<modality>.<name>`.
 */
import { D2vError } from '../errors.js';
import type { SafetensorsFile } from '../interchange/safetensors.js';
import type { TensorEntry } from '../interchange/safetensors-writer.js';
import type { Assets } from '../modality/contract.js';

/** Assets by modality; one without assets has no entry. */
export type ModelAssets = Readonly<Record<string, Assets>>;

const PREFIX = 'asset.';
const NAME = /^[A-Za-z0-9._-]{1,100}$/;

/** @throws D2vError for a name that is no plain file name */
export function assetEntries(assets: ModelAssets): TensorEntry[] {
  return Object.entries(assets).flatMap(([modality, files]) =>
    Object.entries(files).map(([name, bytes]) => {
      if (!NAME.test(name)) {
        throw new D2vError(
          `modality ${modality}: "${name}" cannot be saved with the model: letters, digits, dots, dashes and underscores are allowed in names of assets`,
        );
      }
      return { name: `${PREFIX}${modality}.${name}`, dtype: 'u8', shape: [bytes.length], bytes };
    }),
  );
}

/** The weights of a model file, without what else travels in it. */
export function weightNames(file: SafetensorsFile): string[] {
  return file.names.filter((name) => !name.startsWith(PREFIX));
}

/** The assets of a model file. @throws D2vError if one is not stored as bytes */
export function readAssets(file: SafetensorsFile): ModelAssets {
  const assets: Record<string, Record<string, Uint8Array>> = {};
  for (const tensor of file.names) {
    if (!tensor.startsWith(PREFIX)) continue;
    const [modality = '', ...rest] = tensor.slice(PREFIX.length).split('.');
    const { dtype, shape } = file.info(tensor);
    if (dtype !== 'U8' || shape.length !== 1 || rest.length === 0) {
      throw new D2vError(`${tensor} is no asset: it must be asset.<modality>.<name>, a list of bytes`);
    }
    assets[modality] = { ...assets[modality], [rest.join('.')]: file.read(tensor) };
  }
  return assets;
}

/** @throws D2vError if data that a run goes on with has other assets than the run was saved with */
export function checkSameAssets(modality: string, saved: Assets = {}, now: Assets = {}): void {
  for (const name of new Set([...Object.keys(saved), ...Object.keys(now)])) {
    const [before, after] = [saved[name], now[name]];
    if (before && after && Buffer.compare(before, after) === 0) continue;
    const how = !before
      ? 'which its checkpoint lacks'
      : !after
        ? 'which the data lacks now'
        : 'which differs now';
    throw new D2vError(
      `the run was started with other ${modality} data: it is about ${name}, ${how}; a resumed run keeps it, for another one start a new run`,
    );
  }
}
