/** The config of a run folder: written once, fully resolved, with no absolute path in it. */
import { basename, isAbsolute, join, relative, resolve } from 'node:path';
import { D2vError } from '../errors.js';
import type { Modality } from '../modality/contract.js';
import { writeFileAtomic } from '../training/atomic-file.js';
import { type Layer, readYamlLayer } from './layer.js';
import { configToYaml } from './print.js';
import { parseResolved } from './resolve.js';
import { type RunConfig, runConfigSchema } from './schema.js';

/** Keys that hold paths. */
const PATHS = ['path', 'valid_path', 'cache_dir'] as const;

const CONFIG_FILE = 'config.yaml';

function mapPaths(config: RunConfig, change: (path: string) => string | null): RunConfig {
  const data = { ...config.data };
  for (const key of PATHS) {
    const value = data[key];
    if (value !== null) data[key] = change(value);
  }
  return { ...config, data };
}

/**
 * Writes `config.yaml` into a run folder, atomically. Paths are stored relative to the folder, so that a run can be
 * moved together with its data.
 */
export async function writeRunConfig(runDir: string, modality: Modality, config: RunConfig): Promise<void> {
  const stored = mapPaths(
    config,
    (path) => relative(resolve(runDir), resolve(path)).replaceAll('\\', '/') || '.',
  );
  const text = configToYaml(runConfigSchema(modality), stored);
  await writeFileAtomic(join(runDir, CONFIG_FILE), text);
}

/** Name of the modality that a run folder was made with, to find its plugin. @throws D2vError if it has no config */
export async function readRunModality(runDir: string): Promise<string> {
  const layer = await readRunLayer(runDir);
  const { modality } = layer.value;
  if (typeof modality !== 'string') throw new D2vError(`${join(runDir, CONFIG_FILE)}: has no modality`);
  return modality;
}

/** Reads the resolved config of a run folder; relative paths become paths from the current folder. */
export async function readRunConfig(runDir: string, modality: Modality): Promise<RunConfig> {
  const config = parseResolved(modality, await readRunLayer(runDir));
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
export function portableConfig(config: RunConfig): RunConfig {
  const plain = JSON.parse(JSON.stringify(config)) as RunConfig;
  const cut = mapPaths(plain, (path) => basename(resolve(path)));
  cut.data.cache_dir = null;
  return cut;
}
