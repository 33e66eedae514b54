/** Datasets by name among the installed modalities. */
import type { ManagedDataset, Modality } from '@d2v/core';
import { CliError } from '../../failure.js';
import { findModalities, lookup, type PluginOptions } from '../shared.js';

/** A dataset with the modality that brings it. */
export interface Found {
  modality: string;
  dataset: ManagedDataset;
}

export interface FindOptions extends PluginOptions {
  modality?: string;
}

/** The modalities that are installed or named with --plugin, or the one of --modality; imported. */
export async function installedModalities(options: FindOptions): Promise<Modality[]> {
  if (options.modality !== undefined) return findModalities([options.modality], options);
  const { describePlugin, discoverModalities } = await import('@d2v/core');
  const where = lookup(options);
  const named = await Promise.all((options.plugin ?? []).map((spec) => describePlugin(spec, where)));
  const names = [...named, ...(await discoverModalities(where))].map(({ modality }) => modality);
  return findModalities([...new Set(names)], options);
}

/** @throws CliError if there is none of that name, or several, or one that needs no preparation */
export async function findDataset(name: string, options: FindOptions): Promise<Found> {
  const { didYouMean, isManaged } = await import('@d2v/core');
  const modalities = await installedModalities(options);
  const found = modalities.filter(({ datasets }) => Object.hasOwn(datasets, name));
  if (found.length === 0) {
    const names = modalities.flatMap(({ datasets }) => Object.keys(datasets));
    throw new CliError(
      `there is no dataset "${name}"${didYouMean(name, names) || ' ("d2v data list" shows those of the installed modalities)'}`,
    );
  }
  if (found.length > 1) {
    const names = found.map((modality) => `--modality ${modality.name}`).join(' or ');
    throw new CliError(`several modalities have a dataset "${name}": add ${names}`);
  }
  const [modality] = found as [Modality];
  const dataset = modality.datasets[name];
  if (isManaged(dataset)) return { modality: modality.name, dataset };
  throw new CliError(
    `${name} is small: "d2v train ${modality.name} --data ${name}" fetches it by itself, and there is nothing to prepare`,
  );
}
