/** The config of a run folder: written once, fully resolved, with no absolute path in it. */
import { basename, isAbsolute, join, relative, resolve } from 'node:path';
import { D2vError } from '../errors.js';
import type { Modality } from '../modality/contract.js';
import { writeFileAtomic } from '../training/atomic-file.js';
import { type AnyConfig, isJoint } from './joint.js';
import { type Layer, type Plain, readYamlLayer } from './layer.js';
import { configToYaml } from './print.js';
import { type Modalities, parseResolved } from './resolve.js';
import { type DataConfig, type RunConfig, runConfigSchema } from './schema.js';

/** Keys that hold paths. */
const PATHS = ['path', 'valid_path', 'cache_dir'] as const;

const CONFIG_FILE = 'config.yaml';

/** Changes every `data` section of a config. */
function mapData<C extends AnyConfig>(config: C, change: (data: DataConfig) => DataConfig): C {
  if (!isJoint(config)) return { ...config, data: change(config.data) };
  const data = Object.entries(config.data).map(([name, section]) => [name, change(section)] as const);
  return { ...config, data: Object.fromEntries(data) };
}

function mapPaths<C extends AnyConfig>(config: C, change: (path: string) => string): C {
  return mapData(config, (section) => {
    const data = { ...section };
    for (const key of PATHS) {
      const value = data[key];
      if (value !== null) data[key] = change(value);
    }
    return data;
  });
}

/**
 * Writes `config.yaml` into a run folder, atomically. Paths are stored relative to the folder, so that a run can be
 * moved together with its data.
 */
export async function writeRunConfig(
  runDir: string,
  modalities: Modalities,
  config: AnyConfig,
): Promise<void> {
  const stored = mapPaths(
    config,
    (path) => relative(resolve(runDir), resolve(path)).replaceAll('\\', '/') || '.',
  );
  const text = configToYaml(runConfigSchema(modalities), stored);
  await writeFileAtomic(join(runDir, CONFIG_FILE), text);
}

/** Names of the modalities that a run folder was made with, to find their plugins. @throws D2vError if it has no config */
export async function readRunModalities(runDir: string): Promise<string[]> {
  const names = namedModalities((await readRunLayer(runDir)).value);
  if (names.length === 0) throw new D2vError(`${join(runDir, CONFIG_FILE)}: has no modality`);
  return names;
}

/** The modalities that settings are for, as far as they say so. */
export function namedModalities({ modality, modalities }: Plain): string[] {
  return [modalities ?? modality].flat().filter((name) => typeof name === 'string');
}

/** Reads the resolved config of a run folder; relative paths become paths from the current folder. */
export async function readRunConfig(runDir: string, modality: Modality): Promise<RunConfig>;
export async function readRunConfig(runDir: string, modalities: Modalities): Promise<AnyConfig>;
export async function readRunConfig(runDir: string, modalities: Modalities): Promise<AnyConfig> {
  const config = parseResolved(modalities, await readRunLayer(runDir));
  return mapPaths(config, (path) => (isAbsolute(path) ? path : relative('', resolve(runDir, path)) || '.'));
}

async function readRunLayer(runDir: string): Promise<Layer> {
  const file = join(runDir, CONFIG_FILE);
  try {
    return await readYamlLayer(file);
  } catch (error) {
    if (error instanceof D2vError && /does not exist/.test(error.message)) {
      throw new D2vError(`${runDir} is not a run folder: it has no ${CONFIG_FILE}`);
    }
    throw error;
  }
}

/**
 * The config as it travels inside a checkpoint: plain JSON data without folders of the machine it was made on
 * (paths are cut to their last part).
 */
export function portableConfig<C extends AnyConfig>(config: C): C {
  const plain = JSON.parse(JSON.stringify(config)) as C;
  const cut = mapPaths(plain, (path) => basename(resolve(path)));
  return mapData(cut, (data) => ({ ...data, cache_dir: null }));
}
