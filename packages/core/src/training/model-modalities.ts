/** Which modalities of a model file are loaded: those that are asked for, else all whose plugins are installed. */
import { D2vError } from '../errors.js';
import type { Modality } from '../modality/contract.js';
import { isInstalled, loadModality } from '../modality/registry.js';

export interface ModalityChoice {
  /** The only one to load. */
  modality?: Modality;
  /** Those to load, as plugins or by name. */
  modalities?: readonly (Modality | string)[];
}

/**
 * @param names of the modalities in the file
 * @throws D2vError if one that is asked for is not in the file or not installed, or none of the file's is installed
 */
export async function chosenModalities(
  names: readonly string[],
  { modality, modalities = modality && [modality] }: ModalityChoice,
  file: string,
): Promise<Modality[]> {
  if (modalities) {
    return Promise.all(
      modalities.map((one) => {
        const name = typeof one === 'string' ? one : one.name;
        if (names.includes(name)) return typeof one === 'string' ? loadModality(name) : one;
        const all = names.map((known) => `"${known}"`).join(', ');
        const noun = names.length > 1 ? 'modalities' : 'modality';
        throw new D2vError(`${file} is a model of the ${noun} ${all}, not "${name}"`);
      }),
    );
  }
  const installed = await Promise.all(names.map((name) => isInstalled(name)));
  const there = names.filter((_, i) => installed[i]);
  // With none, loading the first says what is missing.
  return Promise.all((there.length > 0 ? there : names.slice(0, 1)).map((name) => loadModality(name)));
}
