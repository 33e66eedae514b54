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

/** The modality that a run, a config file or the only plugin named stands for. */
export async function modalityOf(files: readonly string[], options: PluginOptions): Promise<Modality> {
  const { loadPlugin, readYamlLayer } = await import('@d2v/core');
  for (const file of [...files].reverse()) {
    const { modality } = (await readYamlLayer(file)).value;
    if (typeof modality === 'string') return findModality(modality, options);
  }
  const [plugin, ...others] = options.plugin ?? [];
  if (plugin !== undefined && others.length === 0) return loadPlugin(plugin, lookup(options));
  throw new CliError(
    'which modality? Name one ("d2v modalities" lists them), or a --config that says "modality: ..."',
  );
}

/** Flags that stand for one key of the config, as assignments; those that were not given are left out. */
export function assignments(flags: Record<string, [key: string, value: unknown]>): Assignment[] {
  return Object.entries(flags).flatMap(([flag, [key, value]]) =>
    value === undefined ? [] : [{ text: `${key}=${value}`, flag }],
  );
}

/** Makes plugins named with --plugin known, before a model is loaded that may need one of them. */
export async function usePlugins(options: PluginOptions): Promise<void> {
  const { loadPlugin, registerModality } = await import('@d2v/core');
  for (const spec of options.plugin ?? []) registerModality(await loadPlugin(spec, lookup(options)));
}
