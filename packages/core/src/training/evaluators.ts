import type { AnyConfig } from '../config/joint.js';
import type { Data2Vec } from '../data2vec/model.js';
import { D2vError } from '../errors.js';
import { evaluationConfig } from '../evaluation/evaluation-config.js';
import { Evaluator } from './evaluator.js';
import { suffixed } from './metric-names.js';
import type { RunPart } from './run-part.js';

/** Scores the features of every modality whose data has labels, during training. */
export class Evaluators {
  private constructor(
    private readonly config: AnyConfig,
    private readonly all: ReadonlyMap<string, Evaluator>,
  ) {}

  /**
   * @returns null if the run evaluates nothing
   * @throws D2vError if it is to, but no data has labels
   */
  static async open(
    config: AnyConfig,
    model: Data2Vec,
    parts: readonly RunPart[],
    device: string,
  ): Promise<Evaluators | null> {
    if (config.eval.interval_updates === null) return null;
    const all = new Map<string, Evaluator>();
    for (const { name, view: own, modality, data: training } of parts) {
      const view = await evaluationConfig(modality, own);
      const data = view === own ? training : training.other(view);
      const [train, valid] = [await data.source('train'), await data.source('valid')];
      // A run of one modality that is to be evaluated has labels, or an error that says what is missing.
      if (parts.length > 1 && (valid.classes?.length ?? 0) < 2) continue;
      all.set(name, new Evaluator({ model, config: view, modality, train, valid, device }));
    }
    if (all.size > 0) return new Evaluators(config, all);
    throw new D2vError(
      'eval.interval_updates is set, but the data of no modality has labels: set it to null, or eval.<modality>.data to data that has',
    );
  }

  /** @returns `eval/knn_top1` etc., shares of held-out samples */
  async run(): Promise<Record<string, number>> {
    const metrics: Record<string, number> = {};
    for (const [name, evaluator] of this.all) {
      Object.assign(metrics, suffixed(await evaluator.run(), this.config, name));
    }
    return metrics;
  }
}
