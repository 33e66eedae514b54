/** The config of a run folder: written once, fully resolved, with no absolute path in it. */
import { existsSync } from 'node:fs';
import { basename, isAbsolute, join, relative, resolve } from 'node:path';
import { D2vError } from '../errors.js';
import type { Modality } from '../modality/contract.js';
import { writeFileAtomic } from '../training/atomic-file.js';
import { type AnyConfig, fromView, isJoint, viewOf } from './joint.js';
import { type Layer, type Plain, readYamlLayer } from './layer.js';
import { mergePlain } from './merge.js';
import { configToYaml } from './print.js';
import { type Modalities, parseResolved } from './resolve.js';
import { type RunConfig, runConfigSchema } from './schema.js';

/** Keys of `data` that hold paths. */
const PATHS = ['path', 'valid_path', 'cache_dir'] as const;

const CONFIG_FILE = 'config.yaml';

type Sections = Pick<RunConfig, 'data' | 'eval'>;

/** Changes what each modality has of the sections `data` and `eval`. */
function mapSections<C extends AnyConfig>(
  config: C,
  modalities: Modalities,
  change: (sections: Sections, modality: Modality) => Sections,
): C {
  let result = config as unknown as Plain;
  for (const modality of [modalities].flat() as Modality[]) {
    const view = viewOf(config, modality.name);
    const { data, eval: evaluation } = change({ data: view.data, eval: view.eval }, modality);
    const changed = { data, eval: evaluation };
    result = mergePlain(result, isJoint(config) ? fromView(changed, modality.name) : changed);
  }
  return result as unknown as C;
}

/** What is done to paths: those of `PATHS`, and values that may also be names (`isPath` tells). */
interface PathChange {
  path(path: string): string;
  pathOrName(value: string): string;
}

function mapPaths<C extends AnyConfig>(config: C, modalities: Modalities, change: PathChange): C {
  return mapSections(config, modalities, ({ data, eval: evaluation }, { pathKeys = [], datasets }) => {
    const section = <S extends Record<string, unknown>>(settings: S): S => {
      const changed: Record<string, unknown> = { ...settings };
      for (const [key, value] of Object.entries(settings)) {
        if (typeof value !== 'string') continue;
        if ((PATHS as readonly string[]).includes(key)) changed[key] = change.path(value);
        else if (pathKeys.includes(key)) changed[key] = change.pathOrName(value);
      }
      return changed as S;
    };
    const { data: scored, data_options } = evaluation;
    const isName = scored === null || Object.hasOwn(datasets, scored);
    return {
      data: section(data),
      eval: {
        ...evaluation,
        data: isName ? scored : change.pathOrName(scored),
        data_options: section(data_options),
      },
    };
  });
}

/** Whether a value that may be a name is a path. */
const isPath = (value: string) => /[\\/]/.test(value) || existsSync(value);

/** A path that can be told from a name: relative ones begin with a dot. */
const dotted = (path: string) => (isAbsolute(path) || /^\.{1,2}([\\/]|$)/.test(path) ? path : `./${path}`);

/**
 * Writes `config.yaml` into a run folder, atomically. Paths are stored relative to the folder, so that a run can be
 * moved together with its data.
 */
export async function writeRunConfig(
  runDir: string,
  modalities: Modalities,
  config: AnyConfig,
): Promise<void> {
  const path = (given: string) => relative(resolve(runDir), resolve(given)).replaceAll('\\', '/') || '.';
  const stored = mapPaths(config, modalities, {
    path,
    pathOrName: (value) => (isPath(value) ? dotted(path(value)) : value),
  });
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
  const path = (stored: string) =>
    isAbsolute(stored) ? stored : relative('', resolve(runDir, stored)) || '.';
  return mapPaths(config, modalities, {
    path,
    pathOrName: (value) => (dotted(value) === value ? dotted(path(value)) : value),
  });
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
export function portableConfig<C extends AnyConfig>(config: C, modalities: Modalities): C {
  const plain = JSON.parse(JSON.stringify(config)) as C;
  const path = (value: string) => basename(resolve(value));
  const cut = mapPaths(plain, modalities, { path, pathOrName: path });
  return mapSections(cut, modalities, (view) => ({ ...view, data: { ...view.data, cache_dir: null } }));
}
