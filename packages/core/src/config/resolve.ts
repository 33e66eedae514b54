/** Putting a run config together from a preset, files, flags and TypeScript. */
import { D2vError } from '../errors.js';
import type { DeepPartial, Modality } from '../modality/contract.js';
import { checkKeys, issueMessage } from './check.js';
import { type Layer, objectLayer, type Plain } from './layer.js';
import { mergePlain, valueAt } from './merge.js';
import { type RunConfig, type RunConfigInput, runConfigSchema } from './schema.js';
import { type Assignment, setLayer } from './set.js';
import { didYouMean } from './suggest.js';

export interface ResolveOptions {
  modality: Modality;
  /** Name of one of the modality's presets; default: the `preset` key of the topmost layer, else its default. */
  preset?: string | null;
  /** Settings from low to high: config files, then programmatic ones. */
  layers?: readonly Layer[];
  /** `key=value` texts, or values of flags in that form, above all layers. */
  set?: readonly (string | Assignment)[];
}

/** Settings given in TypeScript, as a layer. */
export function inputLayer(config: DeepInput, origin = 'options'): Layer {
  return objectLayer(config as Plain, origin);
}
type DeepInput = { [K in keyof RunConfigInput]?: unknown };

/** The preset of that name. @throws D2vError naming the nearest one */
export function presetOf(modality: Modality, name: string) {
  const names = Object.keys(modality.presets);
  const preset = Object.hasOwn(modality.presets, name) ? modality.presets[name] : undefined;
  if (!preset) {
    throw new D2vError(`modality ${modality.name} has no preset "${name}"${didYouMean(name, names, 20)}`);
  }
  return preset;
}

/**
 * The full, checked config: schema defaults, below what the modality suggests, the preset, the layers and `set`.
 * Values that follow others if not given (schedule lengths, seeds) are filled in.
 * @throws D2vError naming key, origin (file and line, or flag) and remedy
 */
export function resolveConfig(options: ResolveOptions): RunConfig {
  const { modality } = options;
  const schema = runConfigSchema(modality);
  const own: Layer[] = [
    ...(options.layers ?? []),
    ...(options.set ?? []).map((text) => setLayer(schema, text)),
  ];
  for (const layer of own) {
    const named = layer.value.modality;
    if (named !== undefined && named !== modality.name) {
      const shown = typeof named === 'string' ? `"${named}"` : JSON.stringify(named);
      throw new D2vError(
        `${layer.where(['modality'])}: the config is for modality ${shown}, not "${modality.name}"`,
      );
    }
    checkKeys(schema, layer);
  }
  const wanted = options.preset ?? own.findLast((layer) => layer.value.preset != null)?.value.preset;
  if (wanted != null && typeof wanted !== 'string') throw new D2vError('preset must be the name of a preset');
  const name = wanted ?? modality.defaultPreset ?? Object.keys(modality.presets)[0]!;
  const preset = objectLayer(
    presetOf(modality, name).config as Plain,
    `preset "${name}" of modality ${modality.name}`,
  );
  checkKeys(schema, preset);
  const top = objectLayer({ modality: modality.name, preset: name }, 'options');
  const given = [preset, ...own, top];
  if (!modality.suggest) return parseLayers(modality, given);
  // The modality sees settings of the right types only.
  parseLayers(modality, given);
  const base = suggestedLayer(modality, [preset, ...own]);
  checkKeys(schema, base);
  return parseLayers(modality, [base, ...given]);
}

/**
 * A resolved config with some settings laid over it, e.g. those of an evaluation.
 * @throws D2vError naming key and origin
 */
export function overrideConfig(
  modality: Modality,
  config: RunConfig,
  changes: { layers?: readonly Layer[]; set?: readonly (string | Assignment)[] },
): RunConfig {
  const schema = runConfigSchema(modality);
  const own = [...(changes.layers ?? []), ...(changes.set ?? []).map((text) => setLayer(schema, text))];
  for (const layer of own) checkKeys(schema, layer);
  return parseLayers(modality, [objectLayer(config as Plain, 'the stored config'), ...own]);
}

/** What the modality makes of the settings so far; below all of them. */
function suggestedLayer(modality: Modality, layers: readonly Layer[]): Layer {
  const settings = layers.reduce<Plain>((under, layer) => mergePlain(under, layer.value), {});
  const suggested = modality.suggest?.(settings as DeepPartial<RunConfigInput>) ?? {};
  return objectLayer(suggested as Plain, `what modality ${modality.name} suggests`);
}

/** Reads back a config that was resolved before (a run folder, a checkpoint): all keys are there, no preset below. */
export function parseResolved(modality: Modality, layer: Layer): RunConfig {
  checkKeys(runConfigSchema(modality), layer);
  return parseLayers(modality, [layer]);
}

function parseLayers(modality: Modality, layers: readonly Layer[]): RunConfig {
  const schema = runConfigSchema(modality);
  const input = layers.reduce<Plain>((under, layer) => mergePlain(under, layer.value), {});
  const result = schema.safeParse(input);
  if (!result.success) {
    const issue = result.error.issues[0]!;
    const origin = layers.findLast((layer) => valueAt(layer.value, issue.path) !== undefined);
    const where = origin ? `${origin.where(issue.path)}: ` : '';
    throw new D2vError(`${where}${issueMessage(schema, issue, input)}`);
  }
  return complete(result.data, input, modality);
}

/** Fills what follows from other keys when it was not given, and checks what spans sections. */
function complete(config: RunConfig, input: Plain, modality: Modality): RunConfig {
  const { model, optimization, common, stop, data } = config;
  model.max_update ??= optimization.max_update;
  model.ema_anneal_end_step ??= optimization.max_update;
  if (valueAt(input, ['model', 'seed']) == null) model.seed = common.seed;
  if (data.batch_length !== null && modality.sizeUnit === undefined) {
    throw new D2vError(
      `data.batch_length: samples of modality ${modality.name} have no lengths: leave it null and set data.batch_size`,
    );
  }
  if (data.batch_size === null && data.batch_length === null)
    throw new D2vError('data.batch_size and data.batch_length are both null: set one of them');
  if (optimization.max_update === null) {
    if (stop.max_seconds === null && stop.loss_threshold === null && stop.plateau_patience === null) {
      throw new D2vError(
        'optimization.max_update is null and no other rule ends the run: set stop.max_seconds, stop.loss_threshold or stop.plateau_patience',
      );
    }
  }
  return config;
}
