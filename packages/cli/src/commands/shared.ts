import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Assignment, LoadModalityOptions, Modality } from '@d2v/core';
import { CliError } from '../failure.js';

/** Options that choose plugins. */
export interface PluginOptions {
  plugin?: string[];
}

/** Where plugins are looked for: the current folder, where the CLI is installed, and what the user named. */
export function lookup(options: PluginOptions): LoadModalityOptions {
  return { from: [dirname(fileURLToPath(import.meta.url))], plugins: options.plugin ?? [] };
}

/** Loads the plugin for a modality. */
export async function findModality(name: string, options: PluginOptions): Promise<Modality> {
  const { loadModality } = await import('@d2v/core');
  return loadModality(name, lookup(options));
}

/** How a command names the modalities of a run. */
export interface ModalityOptions extends PluginOptions {
  /** `--modalities image,audio` */
  modalities?: string;
  config?: string[];
}

/**
 * The modalities of a new run: one by its name, several by `--modalities`, else those of the topmost config file that
 * says so, else that of the only plugin named.
 */
export async function chooseModalities(
  name: string | undefined,
  options: ModalityOptions,
): Promise<Modality[]> {
  const { checkNames, loadPlugin, namedModalities, readYamlLayer } = await import('@d2v/core');
  if (options.modalities !== undefined) {
    if (name !== undefined) throw new CliError(`name the modalities once: "${name}", or --modalities`);
    const names = options.modalities.split(',').map((part) => part.trim());
    checkNames(names, '--modalities');
    return findModalities(names, options);
  }
  if (name !== undefined) return findModalities([name], options);
  for (const file of [...(options.config ?? [])].reverse()) {
    const names = namedModalities((await readYamlLayer(file)).value);
    if (names.length > 0) return findModalities(names, options);
  }
  const [plugin, ...others] = options.plugin ?? [];
  if (plugin !== undefined && others.length === 0) return [await loadPlugin(plugin, lookup(options))];
  throw new CliError(
    'which modality? Name one ("d2v modalities" lists them), several with --modalities, or a --config that says "modality: ..."',
  );
}

/** Loads the plugins for some modalities. */
export function findModalities(names: readonly string[], options: PluginOptions): Promise<Modality[]> {
  return Promise.all(names.map((name) => findModality(name, options)));
}

/** Flags that stand for one key of the config, as assignments; those that were not given are left out. */
export function assignments(flags: Record<string, [key: string, value: unknown]>): Assignment[] {
  return Object.entries(flags).flatMap(([flag, [key, value]]) =>
    value === undefined ? [] : [{ text: `${key}=${value}`, flag }],
  );
}

/**
 * What `--set` says to one modality of a model. Of several, `data.image.batch_size=8` is for one alone, as in the config
 * of their run; what names none is for each.
 * @param all names of the modalities of the model
 */
export function settingsFor(modality: string, all: readonly string[], set: readonly string[] = []): string[] {
  if (all.length === 1) return [...set];
  return set.flatMap((text) => {
    const [, section, owner, rest] = /^\s*(data|eval)\.([^.=]+)\.(.*)$/s.exec(text) ?? [];
    if (owner === undefined || !all.includes(owner)) return [text];
    return owner === modality ? [`${section}.${rest}`] : [];
  });
}

/** Makes plugins named with --plugin known, before a model is loaded that may need one of them. */
export async function usePlugins(options: PluginOptions): Promise<void> {
  const { loadPlugin, registerModality } = await import('@d2v/core');
  for (const spec of options.plugin ?? []) registerModality(await loadPlugin(spec, lookup(options)));
}
