/** Which modality of a model inputs are of: each plugin says which files it takes. */
import { opendir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isShardRange } from '../datasets/shards/find.js';
import { D2vError } from '../errors.js';
import type { Modality } from '../modality/contract.js';

/** Inputs of one modality that stand beside each other. */
export interface InputGroup {
  modality: string;
  paths: string[];
}

/** Files of a folder that are looked at. */
const MOST_FILES = 1000;

/**
 * Groups files and folders by modality, in their order.
 * @throws D2vError for what is not there, and for what none or more than one of the modalities takes
 */
export async function routeInputs(
  paths: readonly string[],
  modalities: readonly Modality[],
): Promise<InputGroup[]> {
  const groups: InputGroup[] = [];
  for (const path of paths) {
    const modality = await modalityOf(path, modalities);
    const last = groups.at(-1);
    if (last?.modality === modality) last.paths.push(path);
    else groups.push({ modality, paths: [path] });
  }
  return groups;
}

async function modalityOf(path: string, modalities: readonly Modality[]): Promise<string> {
  const found = await stat(path).catch(() => undefined);
  if (!found && !isShardRange(path)) throw new D2vError(`${path}: no such file or folder`);
  const isFolder = found?.isDirectory() === true;
  const takers = new Set<string>();
  let files = 0;
  for await (const file of isFolder ? filesIn(path) : [path]) {
    for (const { name, accepts } of modalities) if (accepts?.(file)) takers.add(name);
    if (++files === MOST_FILES) break;
  }
  const [only, ...others] = takers;
  if (only !== undefined && others.length === 0) return only;
  const names = modalities.map(({ name }) => name).join(', ');
  const what = isFolder ? 'holds files of' : 'may be';
  const problem = only === undefined ? `is of none of ${names}` : `${what} ${[...takers].join(' and ')}`;
  throw new D2vError(`${path} ${problem}: say which modality is meant (--modality, or the option modality)`);
}

async function* filesIn(folder: string): AsyncGenerator<string> {
  for await (const entry of await opendir(folder)) {
    const path = join(folder, entry.name);
    if (entry.name.startsWith('.')) continue;
    if (entry.isDirectory()) yield* filesIn(path);
    else if (entry.isFile() || entry.isSymbolicLink()) yield path;
  }
}
