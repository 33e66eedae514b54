import { stat } from 'node:fs/promises';
import { D2vError } from '../errors.js';
import type { Modality } from '../modality/contract.js';
import { type Layer, objectLayer } from './layer.js';
import { didYouMean } from './suggest.js';

/**
 * What `--data` means: the name of a built-in dataset of the modality, else a file or folder (`./digits` for a folder
 * with the name of a dataset).
 * @param flag where the value came from, for messages
 * @throws D2vError if it is neither
 */
export async function dataLayer(modality: Modality, value: string, flag: string): Promise<Layer> {
  if (Object.hasOwn(modality.datasets, value)) {
    return objectLayer({ data: { dataset: value, path: null } }, flag);
  }
  const there = await stat(value).catch(() => undefined);
  if (!there) {
    const names = Object.keys(modality.datasets);
    throw new D2vError(
      `${flag} ${value}: no such file or folder, and modality ${modality.name} has no dataset of that name${didYouMean(value, names)}`,
    );
  }
  return objectLayer({ data: { dataset: null, path: value } }, flag);
}
