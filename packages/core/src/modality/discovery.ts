/**
 * Finding installed modality plugins without importing anything: by the `d2v` block and the keyword in their
 * package.json. Looks from a folder upwards at its package.json's dependencies, at `node_modules` and at the members of
 * a workspace, so it works with npm, pnpm and yarn's node_modules layouts, global installs and checkouts.
 */
import { readdir, readFile, realpath } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import fastGlob from 'fast-glob';
import { parse } from 'yaml';

/** An installed plugin, as its package.json describes it. */
export interface PluginInfo {
  /** Name of the modality it provides, e.g. `image`. */
  modality: string;
  /** Contract version it was written for. */
  api: number;
  /** npm package name. */
  package: string;
  version: string;
  description: string;
  /** First words of the commands it adds to `d2v`, with a line about each. */
  commands: Readonly<Record<string, string>>;
  /** Its folder (links resolved). */
  dir: string;
}

export interface DiscoveryOptions {
  /** Where to look first; default the current folder. */
  cwd?: string;
  /** Further starting folders, e.g. where the CLI is installed. Core's own folder is always the last. */
  from?: readonly string[];
}

export const PLUGIN_KEYWORD = 'd2v-modality';

export interface PackageJson {
  name?: string;
  version?: string;
  description?: string;
  keywords?: unknown;
  main?: string;
  exports?: unknown;
  workspaces?: unknown;
  d2v?: { modality?: unknown; api?: unknown; commands?: unknown };
  [key: string]: unknown;
}

/** Reads a package.json; undefined if there is none or it is no JSON object. */
export async function readPackage(dir: string): Promise<PackageJson | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(join(dir, 'package.json'), 'utf8'));
    return typeof value === 'object' && value !== null ? (value as PackageJson) : undefined;
  } catch {
    return undefined;
  }
}

/** The plugin in a folder, or undefined if its package.json does not declare one. */
export async function pluginIn(dir: string): Promise<PluginInfo | undefined> {
  const pkg = await readPackage(dir);
  const { d2v, keywords } = pkg ?? {};
  if (!pkg || !Array.isArray(keywords) || !keywords.includes(PLUGIN_KEYWORD)) return undefined;
  if (typeof d2v?.modality !== 'string' || typeof d2v.api !== 'number') return undefined;
  return {
    modality: d2v.modality,
    api: d2v.api,
    package: typeof pkg.name === 'string' ? pkg.name : dir,
    version: typeof pkg.version === 'string' ? pkg.version : '0.0.0',
    description: typeof pkg.description === 'string' ? pkg.description : '',
    commands: textsOf(d2v.commands),
    dir: await realpath(dir),
  };
}

/** The entries of an object that are texts. */
function textsOf(value: unknown): Record<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return {};
  const entries = Object.entries(value).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  );
  return Object.fromEntries(entries);
}

/** Folders that `discover` starts from, nearest first. */
export function startingFolders(options: DiscoveryOptions = {}): string[] {
  const own = dirname(fileURLToPath(import.meta.url));
  return [resolve(options.cwd ?? '.'), ...(options.from ?? []), own];
}

/**
 * Lists installed plugins, nearest first; nothing is imported. If two provide the same modality, the first wins
 * when it is asked for by name.
 */
export async function discoverModalities(options: DiscoveryOptions = {}): Promise<PluginInfo[]> {
  const found = new Map<string, PluginInfo>();
  const seen = new Set<string>();
  for (const start of startingFolders(options)) {
    for (const dir of ancestors(await realpath(start).catch(() => start))) {
      if (seen.has(dir)) continue;
      seen.add(dir);
      for (const candidate of await candidates(dir)) {
        const plugin = await pluginIn(candidate);
        if (plugin && !found.has(plugin.dir)) found.set(plugin.dir, plugin);
      }
    }
  }
  return [...found.values()];
}

/** A folder and all above it. */
export function* ancestors(dir: string): Generator<string> {
  for (let current = dir; ; current = dirname(current)) {
    yield current;
    if (dirname(current) === current) return;
  }
}

/** Folders that may hold a plugin, seen from one folder: itself, its dependencies, its node_modules, its workspace. */
async function candidates(dir: string): Promise<string[]> {
  const pkg = await readPackage(dir);
  const modules = join(dir, 'node_modules');
  const dependencies = [
    'dependencies',
    'devDependencies',
    'optionalDependencies',
    'peerDependencies',
  ].flatMap((key) => {
    const block = pkg?.[key];
    return typeof block === 'object' && block !== null ? Object.keys(block) : [];
  });
  const installed = [...new Set([...dependencies, ...(await conventionalNames(modules))])];
  return [dir, ...installed.map((name) => join(modules, name)), ...(await workspaceMembers(dir, pkg))];
}

/** Names in a node_modules folder that look like plugins by convention; dependencies may have any name. */
async function conventionalNames(modules: string): Promise<string[]> {
  const names: string[] = [];
  for (const name of await list(modules)) {
    if (!name.startsWith('@')) {
      if (name.startsWith('d2v-modality-')) names.push(name);
      continue;
    }
    for (const inner of await list(join(modules, name))) {
      if (name === '@d2v' ? inner.startsWith('modality-') : inner.startsWith('d2v-modality-')) {
        names.push(`${name}/${inner}`);
      }
    }
  }
  return names;
}

const list = async (dir: string): Promise<string[]> => (await readdir(dir).catch(() => [])).sort();

/** Package folders of an npm, yarn or pnpm workspace whose root this is. */
async function workspaceMembers(dir: string, pkg: PackageJson | undefined): Promise<string[]> {
  const patterns = [
    ...strings(pkg?.workspaces),
    ...strings((pkg?.workspaces as { packages?: unknown })?.packages),
  ];
  try {
    const text = await readFile(join(dir, 'pnpm-workspace.yaml'), 'utf8');
    patterns.push(...strings((parse(text) as { packages?: unknown } | null)?.packages));
  } catch {
    // No pnpm workspace here, or one that pnpm itself will complain about.
  }
  if (patterns.length === 0) return [];
  const files = await fastGlob(
    patterns.map((pattern) => `${pattern.replace(/\/+$/, '')}/package.json`),
    { cwd: dir, absolute: true, ignore: ['**/node_modules/**'], suppressErrors: true },
  );
  return files.sort().map((file) => dirname(file));
}

const strings = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((v): v is string => typeof v === 'string') : [];
