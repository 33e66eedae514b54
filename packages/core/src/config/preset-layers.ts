/** Which preset a run starts from, and the settings that it stands for. */
import { D2vError } from '../errors.js';
import type { Modality } from '../modality/contract.js';
import { fromView, ownPart } from './joint.js';
import { DEFAULT_JOINT_PRESET, jointPresets } from './joint-presets.js';
import { type Layer, objectLayer, type Plain } from './layer.js';
import { didYouMean } from './suggest.js';

/** The preset of that name. @throws D2vError naming the nearest one */
export function presetOf(modality: Modality, name: string) {
  const names = Object.keys(modality.presets);
  const preset = Object.hasOwn(modality.presets, name) ? modality.presets[name] : undefined;
  if (!preset) {
    throw new D2vError(`modality ${modality.name} has no preset "${name}"${didYouMean(name, names, 20)}`);
  }
  return preset;
}

/** The preset that is asked for: by name, else by the topmost layer, else the default. */
export function presetName(
  given: string | null | undefined,
  layers: readonly Layer[],
  modalities: readonly Modality[],
): string {
  const wanted = given ?? layers.findLast((layer) => layer.value.preset != null)?.value.preset;
  if (wanted != null && typeof wanted !== 'string') throw new D2vError('preset must be the name of a preset');
  return wanted ?? (modalities.length > 1 ? DEFAULT_JOINT_PRESET : defaultOf(modalities[0]!));
}

const defaultOf = ({ defaultPreset, presets }: Modality): string => defaultPreset ?? Object.keys(presets)[0]!;

/** The settings of a preset, from low to high. */
export function presetLayers(modalities: readonly Modality[], name: string): Layer[] {
  const [only, ...others] = modalities;
  if (others.length === 0) {
    const { config } = presetOf(only!, name);
    return [objectLayer(config as Plain, `preset "${name}" of modality ${only!.name}`)];
  }
  const shared = Object.hasOwn(jointPresets, name) ? jointPresets[name] : undefined;
  if (!shared) {
    const names = Object.keys(jointPresets);
    throw new D2vError(`there is no preset "${name}" for several modalities${didYouMean(name, names)}`);
  }
  return [
    objectLayer(shared.config as Plain, `preset "${name}" for several modalities`),
    ...modalities.flatMap((modality) => jointPart(modality, name)),
  ];
}

/** Encoder and data of a modality: as in its own preset of that name (or its default one), with its changes. */
function jointPart(modality: Modality, name: string): Layer[] {
  const { presets, name: own } = modality;
  const base = Object.hasOwn(presets, name) ? name : defaultOf(modality);
  const changes = Object.hasOwn(modality.jointPresets ?? {}, name) ? modality.jointPresets![name]! : {};
  return [
    objectLayer(
      fromView(ownPart(presets[base]!.config as Plain, own), own),
      `preset "${base}" of modality ${own}`,
    ),
    objectLayer(fromView(changes as Plain, own), `joint preset "${name}" of modality ${own}`),
  ];
}
