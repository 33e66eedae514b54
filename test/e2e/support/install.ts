/** Installs packages of this repository as a user would have them, without a registry. */
import { cpSync, existsSync, mkdirSync, readFileSync, realpathSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

interface Manifest {
  files?: string[];
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
  peerDependenciesMeta?: Record<string, { optional?: boolean }>;
}

const require = createRequire(import.meta.url);
const rootOf = (name: string) => dirname(require.resolve(`${name}/package.json`));
const manifestOf = (folder: string): Manifest =>
  JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;

/** The addon that the repository has built: an installation has its sources only. */
export const builtAddon = join(rootOf('@d2v/cuda-kernels'), 'build', 'Release', 'd2v.node');

/**
 * Fills `folder/node_modules` with what is published of the packages (their `files`), and with what they declare that
 * they need, and nothing else.
 * @param packages names of packages of this repository
 * @returns names of all packages that such an installation holds
 * @throws Error if one needs a package of the repository that is not among them
 */
export function install(folder: string, packages: readonly string[]): Set<string> {
  const installed = new Set(packages);
  for (const name of packages) {
    const root = rootOf(name);
    const target = join(folder, 'node_modules', name);
    const manifest = manifestOf(root);
    for (const file of ['package.json', ...(manifest.files ?? [])]) {
      cpSync(join(root, file), join(target, file), { recursive: true });
    }
    for (const dependency of needsOf(manifest)) {
      if (packages.includes(dependency)) continue;
      if (dependency.startsWith('@d2v/')) throw new Error(`${name} needs ${dependency}`);
      const link = join(folder, 'node_modules', dependency);
      const real = find(root, dependency)!;
      mkdirSync(dirname(link), { recursive: true });
      if (!existsSync(link)) symlinkSync(real, link, 'dir');
      collect(dependency, real, installed);
    }
  }
  return installed;
}

function needsOf({ dependencies, peerDependencies, peerDependenciesMeta }: Manifest): string[] {
  const peers = Object.keys(peerDependencies ?? {}).filter((name) => !peerDependenciesMeta?.[name]?.optional);
  return [...Object.keys(dependencies ?? {}), ...peers];
}

/** Adds a package and all that it needs. */
function collect(name: string, folder: string, into: Set<string>): void {
  if (into.has(name)) return;
  into.add(name);
  const manifest = manifestOf(folder);
  for (const need of [...needsOf(manifest), ...Object.keys(manifest.optionalDependencies ?? {})]) {
    const real = find(folder, need);
    if (real !== undefined) collect(need, real, into);
  }
}

/** Where a package that another one needs lies, as Node looks for it; undefined if it is not installed. */
function find(from: string, name: string): string | undefined {
  for (let at = from; ; at = dirname(at)) {
    const candidate = join(at, 'node_modules', name);
    if (existsSync(candidate)) return realpathSync(candidate);
    if (at === dirname(at)) return undefined;
  }
}
