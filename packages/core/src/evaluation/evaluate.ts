/** Quality of frozen features, measured with labels: for `d2v eval` and the report at the end of a run. */
import type { RunConfig } from '../config/schema.js';
import { boundsOf } from '../data/batches.js';
import { D2vError } from '../errors.js';
import { dataCacheDir } from '../modality/cache-dir.js';
import type { Assets, DataSource, Modality } from '../modality/contract.js';
import { evaluationConfig } from './evaluation-config.js';
import type { Accuracy } from './features.js';
import { knn } from './knn.js';
import { type FeatureExtractor, LabelledSet } from './labelled-set.js';
import { type LinearProbeResult, linearProbe } from './linear-probe.js';

/** The two labelled parts that an evaluation needs. */
export interface EvaluationData {
  train: LabelledSet;
  valid: LabelledSet;
  close(): Promise<void>;
}

export interface OpenEvaluationOptions {
  /** Open these instead of what the config names. */
  open?: (split: 'train' | 'valid') => Promise<DataSource>;
  /** Those of the model that is scored. */
  assets?: Assets;
  log?(message: string): void;
  onBad?(file: string, reason: string): void;
}

/** Scores of one kind of features. */
export interface EvaluationRow {
  name: string;
  knn?: Accuracy;
  linear?: LinearProbeResult;
}

/** Opens the training part and the held-out part of `eval.data`, and chooses the samples that are used. */
export async function openEvaluationData(
  modality: Modality,
  config: RunConfig,
  options: OpenEvaluationOptions = {},
): Promise<EvaluationData> {
  const { data, common } = options.open ? config : await evaluationConfig(modality, config);
  const opened: DataSource[] = [];
  const open = async (split: 'train' | 'valid') => {
    const cacheDir = dataCacheDir(data.cache_dir);
    const log = options.log ?? (() => {});
    const source = options.open
      ? await options.open(split)
      : await modality.openData(data, {
          split,
          cacheDir,
          log,
          offline: data.offline,
          assets: options.assets,
        });
    opened.push(source);
    if (source.length === 0) throw new D2vError(`the ${split} part of ${source.name} is empty`);
    return new LabelledSet(source, modality, data, {
      limit: split === 'train' ? config.eval.train_samples : config.eval.valid_samples,
      seed: common.seed,
      bounds: { ...boundsOf(data), samples: config.eval.batch_size ?? data.batch_size },
      onBad: options.onBad,
    });
  };
  const close = async () => {
    for (const source of opened) await source.close?.();
  };
  try {
    return { train: await open('train'), valid: await open('valid'), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Scores several kinds of features on the same samples. */
export async function evaluateFeatures(
  extractors: readonly FeatureExtractor[],
  data: Pick<EvaluationData, 'train' | 'valid'>,
  config: Pick<RunConfig['eval'], 'knn' | 'linear' | 'k'>,
  device = 'cpu',
): Promise<EvaluationRow[]> {
  const train = await data.train.features(extractors);
  const valid = await data.valid.features(extractors);
  return extractors.map(({ name }, i) => {
    const row: EvaluationRow = { name };
    const [x, y] = [train.features[i]!, valid.features[i]!];
    if (config.knn) row.knn = knn(x, train.labels, y, valid.labels, { k: config.k, device });
    if (config.linear) row.linear = linearProbe(x, train.labels, y, valid.labels, { device });
    return row;
  });
}
