/** Loading modality plugins: by modality name, by package name, by path, or by the URL of their entry. */
import { stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { nearest } from '../config/suggest.js';
import { D2vError } from '../errors.js';
import { defineModality, MODALITY_API, type Modality } from './contract.js';
import { checkSameCore } from './core-copy.js';
import {
  ancestors,
  type DiscoveryOptions,
  discoverModalities,
  type PackageJson,
  type PluginInfo,
  pluginIn,
  readPackage,
  startingFolders,
} from './discovery.js';

export interface LoadModalityOptions extends DiscoveryOptions {
  /** Plugins named by the user (`--plugin`): folders, files or package names; they win over installed ones. */
  plugins?: readonly string[];
}

const registered = new Map<string, Modality>();

/** Makes a plugin known by its name in this process, before those found on disk; for programs and tests. */
export function registerModality(modality: Modality): void {
  checkApi(modality.api, `modality ${modality.name}`);
  registered.set(modality.name, modality);
}

/** Whether a value has the parts of a plugin (it may come from another copy of core). */
export function isModality(value: unknown): value is Modality {
  const candidate = value as Partial<Modality> | null;
  return (
    typeof candidate === 'object' &&
    candidate !== null &&
    typeof candidate.name === 'string' &&
    typeof candidate.api === 'number' &&
    typeof candidate.createEncoder === 'function'
  );
}

/**
 * Imports a plugin from the URL of its entry (`Modality.moduleUrl`) and checks it.
 * @throws D2vError if it cannot be imported, exports no modality or an incomplete one, was made for another contract
 *   version, or would bring another copy of core
 */
export async function importModality(url: string, label = url): Promise<Modality> {
  await checkSameCore(url, label);
  let module: Record<string, unknown>;
  try {
    module = (await import(url)) as Record<string, unknown>;
  } catch (error) {
    const [reason] = String((error as Error)?.message ?? error).split('\n');
    throw new D2vError(`plugin ${label} cannot be loaded: ${reason} (build or reinstall it)`, {
      cause: error,
    });
  }
  const modality = isModality(module.default) ? module.default : Object.values(module).find(isModality);
  if (!modality) {
    throw new D2vError(
      `plugin ${label} exports no modality: its default export must be defineModality({...})`,
    );
  }
  checkApi(modality.api, `plugin ${label}`);
  try {
    return defineModality(modality);
  } catch (error) {
    if (!(error instanceof D2vError)) throw error;
    throw new D2vError(`plugin ${label}: ${error.message}`, { cause: error });
  }
}

/**
 * Loads the plugin for a modality: only that one is imported.
 * @throws D2vError if none is installed, with what is installed and the command that installs it
 */
export async function loadModality(name: string, options: LoadModalityOptions = {}): Promise<Modality> {
  for (const spec of options.plugins ?? []) {
    const plugin = await locatePlugin(spec, options);
    if (plugin.info && plugin.info.modality !== name) continue;
    const modality = await load(plugin);
    if (modality.name === name) return modality;
  }
  const known = registered.get(name);
  if (known) return known;
  const installed = await discoverModalities(options);
  const info = installed.find((plugin) => plugin.modality === name);
  if (info) return load({ info, entry: await entryOf(info.dir), label: `${info.package} ${info.version}` });
  const names = [...new Set([...installed.map((plugin) => plugin.modality), ...registered.keys()])];
  const near = nearest(name, names);
  if (near !== undefined)
    throw new D2vError(`no installed plugin provides the modality "${name}": did you mean "${near}"?`);
  const there = names.length > 0 ? `installed: ${names.join(', ')}` : 'no modality is installed';
  throw new D2vError(
    `no installed plugin provides the modality "${name}" (${there}): npm install its package, e.g. ${usualPackage(name)}, or name one with --plugin <path|package>`,
  );
}

/** Whether `loadModality` would find a plugin for a modality; nothing is imported. */
export async function isInstalled(name: string, options: DiscoveryOptions = {}): Promise<boolean> {
  return (
    registered.has(name) || (await discoverModalities(options)).some(({ modality }) => modality === name)
  );
}

/** The package that would provide a modality, by convention. */
export const usualPackage = (name: string): string => `@d2v/modality-${safe(name)}`;

const safe = (name: string) => name.replace(/[^a-z0-9-]/g, '') || '<name>';

/** Loads the plugin that a user named: a folder with package.json, a module file, or an installed package. */
export async function loadPlugin(spec: string, options: DiscoveryOptions = {}): Promise<Modality> {
  return load(await locatePlugin(spec, options));
}

/** What there is to say of a plugin that a user named; one that is a single file is imported for it. */
export async function describePlugin(spec: string, options: DiscoveryOptions = {}): Promise<PluginInfo> {
  const plugin = await locatePlugin(spec, options);
  if (plugin.info) return plugin.info;
  const { name, api } = await load(plugin);
  return {
    modality: name,
    api,
    package: spec,
    version: '',
    description: '',
    commands: {},
    dir: dirname(plugin.entry),
  };
}

interface Located {
  info?: PluginInfo;
  entry: string;
  label: string;
}

async function load(plugin: Located): Promise<Modality> {
  const { info, label } = plugin;
  if (info) checkApi(info.api, `plugin ${label}`);
  const modality = await importModality(pathToFileURL(plugin.entry).href, label);
  if (info && info.modality !== modality.name) {
    throw new D2vError(
      `plugin ${label}: package.json says modality "${info.modality}", its code says "${modality.name}"; they must agree`,
    );
  }
  return modality;
}

function checkApi(api: number, label: string): void {
  if (api === MODALITY_API) return;
  const remedy = api > MODALITY_API ? 'update @d2v/core' : 'update the plugin';
  throw new D2vError(
    `${label} was made for version ${api} of the plugin contract, this @d2v/core has version ${MODALITY_API}: ${remedy}`,
  );
}

/** Finds what `--plugin` names, without importing it. */
async function locatePlugin(spec: string, options: DiscoveryOptions): Promise<Located> {
  const path = resolve(options.cwd ?? '.', spec);
  const stats = await stat(path).catch(() => undefined);
  if (stats?.isFile()) return { entry: path, label: spec };
  if (stats?.isDirectory()) return inFolder(path, spec);
  if (spec.startsWith('.') || isAbsolute(spec))
    throw new D2vError(`--plugin ${spec}: no such file or folder`);
  for (const start of startingFolders(options)) {
    for (const dir of ancestors(start)) {
      const folder = join(dir, 'node_modules', spec);
      if (await readPackage(folder)) return inFolder(folder, spec);
    }
  }
  for (const info of await discoverModalities(options)) {
    if (info.package === spec) return inFolder(info.dir, spec);
  }
  throw new D2vError(`--plugin ${spec}: no such file, folder or installed package (npm install ${spec}?)`);
}

async function inFolder(dir: string, spec: string): Promise<Located> {
  const info = await pluginIn(dir);
  if (!info) {
    throw new D2vError(
      `--plugin ${spec}: its package.json declares no modality (keyword "d2v-modality" and "d2v": {"modality", "api"})`,
    );
  }
  return { info, entry: await entryOf(info.dir), label: `${info.package} ${info.version}` };
}

/** The file that `import 'package'` would load. */
async function entryOf(dir: string): Promise<string> {
  const pkg: PackageJson = (await readPackage(dir)) ?? {};
  const target =
    conditional(mainExport(pkg.exports)) ?? (typeof pkg.main === 'string' ? pkg.main : './index.js');
  const entry = resolve(dir, target);
  const inside = relative(dir, entry);
  const label = pkg.name ?? dir;
  if (inside.startsWith('..') || isAbsolute(inside)) {
    throw new D2vError(`plugin ${label}: its entry ${target} lies outside its folder`);
  }
  if (!(await stat(entry).catch(() => undefined))?.isFile()) {
    throw new D2vError(`plugin ${label}: its entry ${target} does not exist (is it built?)`);
  }
  return entry;
}

/** The `.` entry of an `exports` field. */
function mainExport(exports: unknown): unknown {
  if (typeof exports === 'object' && exports !== null && !Array.isArray(exports) && '.' in exports)
    return exports['.'];
  return exports;
}

const CONDITIONS = new Set(['import', 'node', 'module-sync', 'default']);

/** Resolves conditions as Node does for `import`: the first that applies, in the order written. */
function conditional(target: unknown): string | undefined {
  if (typeof target === 'string') return target;
  if (Array.isArray(target)) return target.map(conditional).find((found) => found !== undefined);
  if (typeof target !== 'object' || target === null) return undefined;
  for (const [condition, value] of Object.entries(target)) {
    if (!CONDITIONS.has(condition)) continue;
    const found = conditional(value);
    if (found !== undefined) return found;
  }
  return undefined;
}
