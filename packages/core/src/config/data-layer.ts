import { findShards } from '../datasets/shards/find.js';
import { D2vError } from '../errors.js';
import { exists } from '../exists.js';
import type { Modality } from '../modality/contract.js';
import { fromView } from './joint.js';
import { type Layer, objectLayer, type Plain } from './layer.js';
import { mergePlain } from './merge.js';
import type { Modalities } from './resolve.js';
import { didYouMean } from './suggest.js';

/**
 * What `--data` means: the name of a built-in dataset of the modality, else a file or folder (`./digits` for a folder
 * with the name of a dataset). With several modalities, each value says whose data it is: `image=photos/`.
 * @param values as often as the flag was given
 * @param flag where the values came from, for messages
 * @throws D2vError if one is neither, or it is not clear whose
 */
export async function dataLayer(
  modalities: Modalities,
  values: string | readonly string[],
  flag: string,
): Promise<Layer> {
  const several = [modalities].flat() as Modality[];
  let settings: Plain = {};
  for (const [name, data] of await dataByModality(several, [values].flat(), flag)) {
    const view = { data: await dataOf(several.find((one) => one.name === name)!, data, flag) };
    settings = mergePlain(settings, several.length > 1 ? fromView(view, name) : view);
  }
  return objectLayer(settings, flag);
}

/**
 * Which data of which modality the values of such a flag name.
 * @throws D2vError if it is not clear whose data one is, or two are of the same modality
 */
export async function dataByModality(
  modalities: readonly Modality[],
  values: readonly string[],
  flag: string,
): Promise<Map<string, string>> {
  const owners = new Map<string, string>();
  for (const value of values) {
    const [{ name }, data] = await assigned(modalities, value, flag);
    if (owners.has(name)) throw new D2vError(`${flag} ${value}: the data of ${name} is given twice`);
    owners.set(name, data);
  }
  return owners;
}

/** Whose data it is, and which: `image=photos/`, or `photos/` alone where there is one modality. */
async function assigned(
  modalities: readonly Modality[],
  value: string,
  flag: string,
): Promise<[modality: Modality, data: string]> {
  const at = value.indexOf('=');
  const named = modalities.find(({ name }) => name === value.slice(0, Math.max(0, at)));
  const [only, ...others] = modalities;
  if (named && !(others.length === 0 && (await exists(value)))) return [named, value.slice(at + 1)];
  if (only && others.length === 0) return [only, value];
  const names = modalities.map(({ name }) => name);
  if (at > 0 && !(await exists(value))) {
    const name = value.slice(0, at);
    throw new D2vError(`${flag} ${value}: this run has no modality "${name}"${didYouMean(name, names)}`);
  }
  throw new D2vError(
    `${flag} ${value}: whose data is it? Write ${names.map((name) => `${flag} ${name}=${value}`).join(' or ')}`,
  );
}

async function dataOf(modality: Modality, value: string, flag: string): Promise<Plain> {
  if (Object.hasOwn(modality.datasets, value)) return { dataset: value, path: null };
  // Not every path is one file or folder: `train-{000..146}.tar` is a range of shards.
  if ((await exists(value)) || (await findShards(value))) return { dataset: null, path: value };
  const names = Object.keys(modality.datasets);
  throw new D2vError(
    `${flag} ${value}: no such file or folder, and modality ${modality.name} has no dataset of that name${didYouMean(value, names)}`,
  );
}
