/**
 * Runs of several modalities. Their config has the sections of any run, but `data`, `eval` and `model.modalities` are
 * divided by modality. A *view* is what a run of one of them alone would have: all code that deals with one modality
 * (its data, its features) takes that, and never sees the difference.
 */
import { D2vError } from '../errors.js';
import { isPlain, type Plain } from './layer.js';
import type { DataConfig, RunConfig } from './schema.js';

/** Keys of `eval` that speak of the run as a whole. */
export const EVAL_OF_RUN = ['interval_updates', 'report'] as const;
type EvalOfRun = Pick<RunConfig['eval'], (typeof EVAL_OF_RUN)[number]>;

/** What every run has in the same form. */
export type CommonConfig = Omit<RunConfig, 'modality' | 'data' | 'eval'> & { eval: EvalOfRun };

/** The config of a run of several modalities. */
export interface JointConfig extends CommonConfig {
  modalities: string[];
  joint: {
    /** Share of updates by modality, in any unit. */
    ratios: Record<string, number>;
  };
  /** By modality. */
  data: Record<string, DataConfig>;
}

/** The config of any run. */
export type AnyConfig = RunConfig | JointConfig;

export function isJoint(config: AnyConfig): config is JointConfig {
  return 'modalities' in config;
}

/** Names of the modalities of a run, in the order of its config. */
export function modalitiesOf(config: AnyConfig): string[] {
  return isJoint(config) ? config.modalities : [config.modality];
}

/** The config as one of its modalities sees it. */
export function viewOf(config: AnyConfig, modality: string): RunConfig {
  return isJoint(config) ? (plainView(config as unknown as Plain, modality) as unknown as RunConfig) : config;
}

/** A key of the `data` section as users of this run write it. */
export function dataKey(config: AnyConfig, modality: string, key: string): string {
  return isJoint(config) ? `data.${modality}.${key}` : `data.${key}`;
}

/**
 * The view of settings that need not be complete.
 * @param joint in the form of a run of several modalities
 */
export function plainView(joint: Plain, modality: string): Plain {
  const { modalities: _, joint: __, data, eval: evaluation, model, ...shared } = joint;
  const view: Plain = { modality, ...shared };
  if (isPlain(model)) {
    const own = isPlain(model.modalities) ? model.modalities[modality] : undefined;
    view.model = { ...model, modalities: own === undefined ? {} : { [modality]: own } };
  }
  if (isPlain(data) && data[modality] !== undefined) view.data = data[modality];
  if (isPlain(evaluation)) {
    const ofRun = Object.fromEntries(EVAL_OF_RUN.map((key) => [key, evaluation[key]]));
    view.eval = { ...(isPlain(evaluation[modality]) ? evaluation[modality] : {}), ...ofRun };
  }
  return view;
}

/** The reverse: settings of a view, as part of the joint settings. */
export function fromView(view: Plain, modality: string): Plain {
  const { modality: _, preset: __, data, eval: evaluation, ...shared } = view;
  const joint: Plain = shared;
  if (data !== undefined) joint.data = { [modality]: data };
  if (isPlain(evaluation)) {
    const own: Plain = {};
    joint.eval = { [modality]: own };
    for (const [key, value] of Object.entries(evaluation)) {
      const ofRun = (EVAL_OF_RUN as readonly string[]).includes(key);
      (ofRun ? (joint.eval as Plain) : own)[key] = value;
    }
  }
  return joint;
}

/** The part of a preset that a modality keeps in a run of several: its encoder, its data, how it is evaluated. */
export function ownPart(preset: Plain, modality: string): Plain {
  const model = isPlain(preset.model) ? preset.model : {};
  const encoder = isPlain(model.modalities) ? model.modalities[modality] : undefined;
  const evaluation = Object.entries(isPlain(preset.eval) ? preset.eval : {}).filter(
    ([key]) => !(EVAL_OF_RUN as readonly string[]).includes(key),
  );
  return {
    ...(encoder !== undefined && { model: { modalities: { [modality]: encoder } } }),
    ...(preset.data !== undefined && { data: preset.data }),
    ...(evaluation.length > 0 && { eval: Object.fromEntries(evaluation) }),
  };
}

/** The first key of a modality's joint preset that is not its own to set, or undefined. */
export function sharedKey(preset: Plain, modality: string): string | undefined {
  const own: Record<string, (key: string) => boolean> = {
    data: () => true,
    eval: (key) => !(EVAL_OF_RUN as readonly string[]).includes(key),
    model: (key) => key === 'modalities',
  };
  for (const [section, value] of Object.entries(preset)) {
    const allowed = own[section];
    if (!allowed) return section;
    const key = Object.keys(isPlain(value) ? value : {}).find((one) => !allowed(one));
    if (key !== undefined) return `${section}.${key}`;
  }
  const { modalities } = isPlain(preset.model) ? preset.model : {};
  const other = Object.keys(isPlain(modalities) ? modalities : {}).find((name) => name !== modality);
  return other === undefined ? undefined : `model.modalities.${other}`;
}

/** @throws D2vError if a list of modalities names one twice, or none */
export function checkNames(names: readonly string[], origin: string): void {
  if (names.length === 0) throw new D2vError(`${origin} names no modality`);
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) throw new D2vError(`${origin} names the modality "${twice}" twice`);
}
