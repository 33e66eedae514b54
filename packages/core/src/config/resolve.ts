/** Putting a run config together from a preset, files, flags and TypeScript. */
import { D2vError } from '../errors.js';
import type { DeepPartial, Modality } from '../modality/contract.js';
import { checkKeys, issueMessage } from './check.js';
import {
  type AnyConfig,
  type CommonConfig,
  checkNames,
  dataKey,
  fromView,
  plainView,
  viewOf,
} from './joint.js';
import { isPlain, type Layer, objectLayer, type Plain } from './layer.js';
import { mergePlain, valueAt } from './merge.js';
import { presetLayers, presetName } from './preset-layers.js';
import { type RunConfig, type RunConfigInput, runConfigSchema } from './schema.js';
import { type Assignment, setLayer } from './set.js';

/** A modality, or several for a run of them all. */
export type Modalities = Modality | readonly Modality[];

/** Settings that lie over others. */
export interface Changes {
  /** From low to high: config files, then programmatic ones. */
  layers?: readonly Layer[];
  /** `key=value` texts, or values of flags in that form, above all layers. */
  set?: readonly (string | Assignment)[];
}

export interface ResolveOptions extends Changes {
  modality: Modality;
  /** Name of one of the modality's presets; default: the `preset` key of the topmost layer, else its default. */
  preset?: string | null;
}

export interface JointResolveOptions extends Omit<ResolveOptions, 'modality'> {
  /** Several, for one model of them all; one is as `modality`. */
  modalities: readonly Modality[];
}

/** Settings given in TypeScript, as a layer. */
export function inputLayer(config: DeepInput, origin = 'options'): Layer {
  return objectLayer(config as Plain, origin);
}
type DeepInput = { [K in keyof RunConfigInput | keyof AnyConfig]?: unknown };

/**
 * The full, checked config: schema defaults, below what the modality suggests, the preset, the layers and `set`.
 * Values that follow others if not given (schedule lengths, seeds) are filled in.
 * @throws D2vError naming key, origin (file and line, or flag) and remedy
 */
export function resolveConfig(options: ResolveOptions): RunConfig;
export function resolveConfig(options: ResolveOptions | JointResolveOptions): AnyConfig;
export function resolveConfig(options: ResolveOptions | JointResolveOptions): AnyConfig {
  const { modalities, schema, settings, given } = gather(options);
  if (!modalities.some(({ suggest }) => suggest)) return parseLayers(modalities, given);
  // Modalities see settings of the right types only.
  parseLayers(modalities, given);
  const base = suggestedLayers(modalities, settings);
  for (const layer of base) checkKeys(schema, layer);
  return parseLayers(modalities, [...base, ...given]);
}

/** Keys that `complete` fills from other keys. */
const COMPLETED = [
  ['model', 'max_update'],
  ['model', 'ema_anneal_end_step'],
  ['model', 'seed'],
];

/**
 * Keys of the resolved config that nobody set: their values follow from other settings (a dataset's own augmentation,
 * the length of the run), and would be others with other settings.
 * @param options those that `resolveConfig` took
 */
export function derivedKeys(options: ResolveOptions | JointResolveOptions): string[][] {
  const { modalities, settings } = gather(options);
  const given = merged(settings);
  const suggested = leafPaths(merged(suggestedLayers(modalities, settings)));
  return [...suggested, ...COMPLETED].filter((path) => valueAt(given, path) == null);
}

const leafPaths = (value: Plain, above: string[] = []): string[][] =>
  Object.entries(value).flatMap(([key, child]) =>
    isPlain(child) ? leafPaths(child, [...above, key]) : [[...above, key]],
  );

/** The layers that the user and the presets give, checked for unknown keys. */
function gather(options: ResolveOptions | JointResolveOptions) {
  const modalities = 'modalities' in options ? options.modalities : [options.modality];
  const header = headerOf(modalities);
  const schema = runConfigSchema(modalities);
  const own = layersOf(modalities, options).map((layer) => headless(layer, modalities));
  for (const layer of own) checkKeys(schema, layer);
  const name = presetName(options.preset, own, modalities);
  const presets = presetLayers(modalities, name);
  for (const layer of presets) checkKeys(schema, layer);
  const settings = [...presets, ...own];
  return {
    modalities,
    schema,
    settings,
    given: [...settings, objectLayer({ ...header, preset: name }, 'options')],
  };
}

/**
 * A resolved config with some settings laid over it, e.g. those of an evaluation.
 * @throws D2vError naming key and origin
 */
export function overrideConfig(modality: Modality, config: RunConfig, changes: Changes): RunConfig;
export function overrideConfig(modalities: Modalities, config: AnyConfig, changes: Changes): AnyConfig;
export function overrideConfig(modalities: Modalities, config: AnyConfig, changes: Changes): AnyConfig {
  const schema = runConfigSchema(modalities);
  const own = layersOf(modalities, changes);
  for (const layer of own) checkKeys(schema, layer);
  return parseLayers(modalities, [objectLayer(config as unknown as Plain, 'the stored config'), ...own]);
}

/**
 * Reads back a config that was resolved before (a run folder, a checkpoint): all keys are there, no preset below. For one
 * of several modalities of a run, what it sees of that run's config.
 */
export function parseResolved(modality: Modality, layer: Layer): RunConfig;
export function parseResolved(modalities: Modalities, layer: Layer): AnyConfig;
export function parseResolved(modalities: Modalities, stored: Layer): AnyConfig {
  const [only, ...others] = [modalities].flat() as Modality[];
  const names = stored.value.modalities;
  const one = only && others.length === 0 && Array.isArray(names) && names.includes(only.name);
  const layer = one ? { ...stored, value: plainView(stored.value, only.name) } : stored;
  checkKeys(runConfigSchema(modalities), layer);
  return parseLayers(modalities, [layer]);
}

function layersOf(modalities: Modalities, { layers = [], set = [] }: Changes): Layer[] {
  const schema = runConfigSchema(modalities);
  return [...layers, ...set.map((text) => setLayer(schema, text))];
}

/** The key that says which modalities a config is for. */
function headerOf(modalities: readonly Modality[]): Plain {
  const names = modalities.map(({ name }) => name);
  checkNames(names, 'the list of modalities');
  return names.length > 1 ? { modalities: names } : { modality: names[0] };
}

/**
 * A layer without the keys that name its modalities, once they are seen to be those of the run (in any order).
 * @throws D2vError if they are others
 */
function headless(layer: Layer, modalities: readonly Modality[]): Layer {
  const { modality, modalities: several, ...value } = layer.value;
  const names = modalities.map(({ name }) => name);
  for (const [key, named] of Object.entries({ modality, modalities: several })) {
    if (named === undefined) continue;
    const list = [named].flat() as unknown[];
    if (list.length === names.length && names.every((name) => list.includes(name))) continue;
    const shown = (some: unknown[]) => some.map((name) => JSON.stringify(name)).join(', ');
    const what = list.length > 1 ? 'modalities' : 'modality';
    throw new D2vError(
      `${layer.where([key])}: the config is for ${what} ${shown(list)}, not ${shown(names)}`,
    );
  }
  return { value, where: layer.where };
}

/** What the modalities make of the settings so far; below all of them. */
function suggestedLayers(modalities: readonly Modality[], layers: readonly Layer[]): Layer[] {
  const settings = merged(layers);
  const joint = modalities.length > 1;
  // The first named lies on top: it decides where several suggest what they share.
  return modalities.toReversed().map(({ name, suggest }) => {
    const seen = joint ? plainView(settings, name) : settings;
    const suggested = (suggest?.(seen as DeepPartial<RunConfigInput>) ?? {}) as Plain;
    return objectLayer(joint ? fromView(suggested, name) : suggested, `what modality ${name} suggests`);
  });
}

const merged = (layers: readonly Layer[]): Plain =>
  layers.reduce<Plain>((under, layer) => mergePlain(under, layer.value), {});

function parseLayers(modality: Modality, layers: readonly Layer[]): RunConfig;
function parseLayers(modalities: Modalities, layers: readonly Layer[]): AnyConfig;
function parseLayers(modalities: Modalities, layers: readonly Layer[]): AnyConfig {
  const schema = runConfigSchema(modalities);
  const input = merged(layers);
  const result = schema.safeParse(input);
  if (!result.success) {
    const issue = result.error.issues[0]!;
    const origin = layers.findLast((layer) => valueAt(layer.value, issue.path) !== undefined);
    const where = origin ? `${origin.where(issue.path)}: ` : '';
    throw new D2vError(`${where}${issueMessage(schema, issue, input)}`);
  }
  for (const modality of [modalities].flat() as Modality[]) checkData(result.data, modality);
  complete(result.data, input);
  return result.data;
}

function checkData(config: AnyConfig, { name, sizeUnit }: Modality): void {
  const { batch_size, batch_length } = viewOf(config, name).data;
  const [size, length] = ['batch_size', 'batch_length'].map((key) => dataKey(config, name, key));
  if (batch_length !== null && sizeUnit === undefined) {
    throw new D2vError(
      `${length}: samples of modality ${name} have no lengths: leave it null and set ${size}`,
    );
  }
  if (batch_size === null && batch_length === null)
    throw new D2vError(`${size} and ${length} are both null: set one of them`);
}

/** Fills what follows from other keys when it was not given, and checks what spans sections. */
function complete(config: CommonConfig, input: Plain): void {
  const { model, optimization, common, stop } = config;
  model.max_update ??= optimization.max_update;
  model.ema_anneal_end_step ??= optimization.max_update;
  if (valueAt(input, ['model', 'seed']) == null) model.seed = common.seed;
  if (optimization.max_update === null) {
    if (stop.max_seconds === null && stop.loss_threshold === null && stop.plateau_patience === null) {
      throw new D2vError(
        'optimization.max_update is null and no other rule ends the run: set stop.max_seconds, stop.loss_threshold or stop.plateau_patience',
      );
    }
  }
}
