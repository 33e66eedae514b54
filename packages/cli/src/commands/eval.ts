import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Data2Vec, EvaluationRow, FeatureExtractor, LoadedModel, Modality, RunConfig } from '@d2v/core';
import { err } from '../colors.js';
import { CliError } from '../failure.js';
import { assignments, type PluginOptions, settingsFor, usePlugins } from './shared.js';

interface EvalOptions extends PluginOptions {
  data?: string[];
  modality?: string;
  set?: string[];
  network?: 'student' | 'teacher';
  layer?: number;
  pool?: 'mean' | 'grid' | 'cls';
  checkpoint: 'last' | 'best';
  k?: number;
  trainSamples?: number;
  validSamples?: number;
  device?: string;
  compare?: boolean;
  json?: boolean;
}

const METHODS = ['knn', 'linear', 'all'];

/** `d2v eval`: scores frozen features of a model. */
export async function evaluate(method: string, path: string, options: EvalOptions): Promise<void> {
  const core = await import('@d2v/core');
  if (!METHODS.includes(method)) {
    throw new CliError(`there is no evaluation "${method}"${core.didYouMean(method, METHODS)}`);
  }
  await usePlugins(options);
  const device = core.resolveDevice(options.device ?? 'auto');
  const whole = await core.loadModel(path, { device, which: options.checkpoint });
  try {
    const loaded = options.modality === undefined ? whole : whole.for(options.modality);
    const plugins = loaded.modalities.map((name) => loaded.for(name).modality);
    // For the message: what it names is opened as eval.data.
    if (options.data !== undefined) await core.dataLayer(plugins, options.data, '--data');
    const data = await core.dataByModality(plugins, options.data ?? [], '--data');
    const scores: Record<string, EvaluationRow[]> = {};
    for (const { name } of plugins) {
      const settings = await settingsOf(method, path, loaded.for(name), data.get(name), {
        ...options,
        set: settingsFor(name, whole.modalities, options.set),
      });
      const rows = await score(loaded.for(name), settings, plugins.length > 1, device, options.compare);
      if (rows) scores[name] = rows;
    }
    if (Object.keys(scores).length === 0) {
      throw new CliError(
        'no modality of the model has labelled data: name some with --data <modality>=<data>',
      );
    }
    print(scores, plugins.length > 1, options.json, core.reportTable);
  } finally {
    whole.dispose();
  }
}

/** The config to score one modality with. */
async function settingsOf(
  method: string,
  path: string,
  loaded: LoadedModel,
  data: string | undefined,
  options: EvalOptions,
): Promise<RunConfig> {
  const core = await import('@d2v/core');
  const { modality } = loaded;
  const stored = (await runConfigOf(path, modality)) ?? loaded.config;
  const config = core.overrideConfig(modality, stored, {
    layers: data === undefined ? [] : [core.objectLayer({ eval: { data } }, '--data')],
    set: [
      ...(options.set ?? []),
      `eval.knn=${method !== 'linear'}`,
      `eval.linear=${method !== 'knn'}`,
      ...assignments({
        '--network': ['eval.network', options.network],
        '--layer': ['eval.layer', options.layer],
        '--pool': ['eval.pool', options.pool],
        '-k': ['eval.k', options.k],
        '--train-samples': ['eval.train_samples', options.trainSamples],
        '--valid-samples': ['eval.valid_samples', options.validSamples],
      }),
    ],
  });
  checkLayer(config.eval.layer, loaded.depth);
  return config;
}

/** Scores of one modality's features. @returns null without labels, where other modalities may have some */
async function score(
  { modality, model, assets }: LoadedModel,
  config: RunConfig,
  lenient: boolean,
  device: string,
  compare: boolean | undefined,
): Promise<EvaluationRow[] | null> {
  const core = await import('@d2v/core');
  const warn = (text: string) => process.stderr.write(`${err.yellow('warning:')} ${text}\n`);
  const log = (text: string) => process.stderr.write(`${text}\n`);
  const onBad = (file: string, reason: string) => warn(`${file}: ${reason} (left out)`);
  const data = await core.openEvaluationData(modality, config, { log, onBad, assets });
  let untrained: Data2Vec | undefined;
  try {
    if (lenient && (data.valid.classes?.length ?? 0) < 2) {
      warn(`${modality.name}: the data has no labels (left out)`);
      return null;
    }
    const extractors: FeatureExtractor[] = [];
    if (compare) {
      untrained = core.Data2Vec.create({
        config: config.model,
        modalities: [modality],
        seed: config.common.seed,
        device,
        pretraining: false,
      });
      extractors.push(core.networkExtractor('untrained network', untrained, modality.name, config.eval));
      const baseline = core.baselineExtractor(modality);
      if (baseline) extractors.push(baseline);
    }
    const name = `${config.eval.network}, ${config.eval.layer === null ? 'last layer' : `layer ${config.eval.layer}`}`;
    extractors.push(core.networkExtractor(name, model, modality.name, config.eval));
    return await core.evaluateFeatures(extractors, data, config.eval, device);
  } finally {
    untrained?.dispose();
    await data.close();
  }
}

/**
 * The config of the run that a model belongs to, if it lies in a run folder: it knows where the data is, which a model
 * file does not.
 */
async function runConfigOf(path: string, modality: Modality): Promise<RunConfig | undefined> {
  const { readRunConfig } = await import('@d2v/core');
  for (const folder of [path, join(path, '..', '..'), join(path, '..', '..', '..')]) {
    if (await stat(join(folder, 'config.yaml')).catch(() => undefined))
      return readRunConfig(folder, modality);
  }
  return undefined;
}

function checkLayer(layer: number | null, depth: number): void {
  if (layer !== null && layer > depth) {
    throw new CliError(
      `--layer ${layer}: the network has ${depth} blocks; give 0 (input of the first) to ${depth}`,
    );
  }
}

/** One table, or one per modality with its name above; JSON of several is by modality. */
function print(
  scores: Record<string, EvaluationRow[]>,
  several: boolean,
  json: boolean | undefined,
  table: (rows: EvaluationRow[]) => string,
): void {
  if (json) {
    const value = several ? scores : Object.values(scores)[0];
    process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
    return;
  }
  const parts = Object.entries(scores).map(([name, rows]) =>
    several ? `${name}:\n\n${table(rows)}` : table(rows),
  );
  process.stdout.write(`${parts.join('\n\n')}\n`);
}
