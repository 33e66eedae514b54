import type { RunConfig } from '../config/schema.js';
import { boundsOf } from '../data/batches.js';
import type { Data2Vec } from '../data2vec/model.js';
import { evaluateFeatures } from '../evaluation/evaluate.js';
import { networkExtractor } from '../evaluation/extractors.js';
import { LabelledSet } from '../evaluation/labelled-set.js';
import type { DataSource, Modality } from '../modality/contract.js';

export interface EvaluatorOptions {
  model: Data2Vec;
  config: RunConfig;
  modality: Modality;
  train: DataSource;
  valid: DataSource;
  device: string;
}

/**
 * Scores frozen features with labels during training. Nothing of the run depends on it: it has its own samples, and no
 * random numbers of the training.
 */
export class Evaluator {
  private readonly train: LabelledSet;
  private readonly valid: LabelledSet;

  constructor(private readonly options: EvaluatorOptions) {
    const { train, valid, config } = options;
    this.train = this.part(train, config.eval.train_samples);
    this.valid = this.part(valid, config.eval.valid_samples);
  }

  /**
   * @returns `eval/knn_top1` etc., shares of held-out samples
   * @throws D2vError when the data has no labels
   */
  async run(): Promise<Record<string, number>> {
    const { model, config, modality, device } = this.options;
    const extractor = networkExtractor('model', model, modality.name, config.eval);
    const [row] = await evaluateFeatures(
      [extractor],
      { train: this.train, valid: this.valid },
      config.eval,
      device,
    );
    const metrics: Record<string, number> = {};
    for (const method of ['knn', 'linear'] as const) {
      const scores = row?.[method];
      if (scores)
        Object.assign(metrics, {
          [`eval/${method}_top1`]: scores.top1,
          [`eval/${method}_top5`]: scores.top5,
        });
    }
    return metrics;
  }

  private part(source: DataSource, limit: number): LabelledSet {
    const { modality, config } = this.options;
    const { data, eval: settings, common } = config;
    const bounds = { ...boundsOf(data), samples: settings.batch_size ?? data.batch_size };
    return new LabelledSet(source, modality, data, { limit, seed: common.seed, bounds });
  }
}
