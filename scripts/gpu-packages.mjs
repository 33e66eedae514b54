/** Which packages a GPU machine without network needs (gpu-bundle.mjs). */
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';

const OURS = ['core', 'cuda-kernels', 'modality-image', 'modality-audio', 'modality-text', 'cli'];
/** The addon is built with CMake alone there. */
const NOT_NEEDED = new Set(['cmake-js']);

/**
 * @typedef {object} Bundled
 * @property {string} source folder of the package
 * @property {string} target its place in node_modules: "tar", or "tar/node_modules/minipass" of a second version
 * @property {string[]} [files] what is published of it, for our own
 */

/**
 * Our packages and all they depend on, as they are installed here. Optional ones that are not installed belong to other systems.
 * @param {string} root of the repository
 * @returns {Bundled[]}
 * @throws Error naming a package that is needed and not installed
 */
export function bundledPackages(root) {
  const found = new Map();
  const versions = new Map();
  for (const folder of OURS.map((name) => join(root, 'packages', name))) {
    const { name, files, dependencies = {} } = manifestOf(folder);
    found.set(name, { source: folder, target: name, files: ['package.json', ...files] });
    for (const need of Object.keys(dependencies)) {
      if (!need.startsWith('@d2v/') && !NOT_NEEDED.has(need)) add(need, folder, name, true);
    }
  }
  return [...found.values()];

  /** A package that another one needs, beside it, or inside it where another version of it is beside. */
  function add(name, from, parent, required) {
    const source = find(name, from);
    if (!source) {
      if (!required) return;
      throw new Error(`${name}, which ${parent} needs, is not installed: run npm run setup`);
    }
    const { version, dependencies = {}, optionalDependencies = {} } = manifestOf(source);
    if (versions.get(name) === version) return;
    const target = versions.has(name) ? `${parent}/node_modules/${name}` : name;
    if (target === name) versions.set(name, version);
    if (found.has(target)) return;
    found.set(target, { source, target });
    for (const need of Object.keys({ ...dependencies, ...optionalDependencies }))
      add(need, source, target, !(need in optionalDependencies));
  }
}

/** Where Node would find a package. */
function find(name, from) {
  for (let at = realpathSync(from); ; at = dirname(at)) {
    const folder = join(at, 'node_modules', name);
    if (existsSync(join(folder, 'package.json'))) return realpathSync(folder);
    if (at === dirname(at)) return null;
  }
}

function manifestOf(folder) {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
}
