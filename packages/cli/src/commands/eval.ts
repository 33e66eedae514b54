import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Data2Vec, EvaluationRow, FeatureExtractor, Modality, RunConfig } from '@d2v/core';
import pc from 'picocolors';
import { CliError } from '../failure.js';
import { assignments, type PluginOptions, usePlugins } from './shared.js';

interface EvalOptions extends PluginOptions {
  data?: string;
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
  const device = core.resolveDevice(options.device ?? 'cpu');
  const loaded = await core.loadModel(path, { device, which: options.checkpoint });
  const { modality, model, assets } = loaded;
  let untrained: Data2Vec | undefined;
  try {
    // For the message: what it names is opened as eval.data.
    if (options.data !== undefined) await core.dataLayer(modality, options.data, '--data');
    const stored = (await runConfigOf(path, modality)) ?? loaded.config;
    const config = core.overrideConfig(modality, stored, {
      layers:
        options.data === undefined ? [] : [core.objectLayer({ eval: { data: options.data } }, '--data')],
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
    const extractors: FeatureExtractor[] = [];
    if (options.compare) {
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
    const warn = (text: string) => process.stderr.write(`${pc.yellow('warning:')} ${text}\n`);
    const log = (text: string) => process.stderr.write(`${text}\n`);
    const onBad = (file: string, reason: string) => warn(`${file}: ${reason} (left out)`);
    const data = await core.openEvaluationData(modality, config, { log, onBad, assets });
    try {
      const rows = await core.evaluateFeatures(extractors, data, config.eval, device);
      print(rows, options.json, core.reportTable);
    } finally {
      await data.close();
    }
  } finally {
    untrained?.dispose();
    loaded.dispose();
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

function print(
  rows: EvaluationRow[],
  json: boolean | undefined,
  table: (rows: EvaluationRow[]) => string,
): void {
  process.stdout.write(`${json ? JSON.stringify(rows, null, 2) : table(rows)}\n`);
}
