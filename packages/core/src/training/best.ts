import { type AnyConfig, modalitiesOf, viewOf } from '../config/joint.js';
import type { RunConfig } from '../config/schema.js';
import { D2vError } from '../errors.js';
import { metricSuffix } from './metric-names.js';
import type { TrainerState } from './trainer-state.js';

type BestState = TrainerState['best'];

const EVAL_METRICS = {
  knn: ['eval/knn_top1', 'eval/knn_top5'],
  linear: ['eval/linear_top1', 'eval/linear_top5'],
};

/**
 * Follows `checkpoint.best_checkpoint_metric`: whether a new value beats all before it. If it is not set, features are
 * scored (kNN before the linear probe, the first modality's), and nothing is best in a run without evaluations: the loss
 * says little, as its targets become harder while the model learns.
 */
export class BestTracker {
  /** Null: none is followed, and nothing is ever the best. */
  private readonly metric: string | null;
  private readonly maximise: boolean;

  /** @throws D2vError when the metric is never measured in this run */
  constructor(
    config: AnyConfig,
    private best: BestState = null,
  ) {
    const measured = config.eval.interval_updates === null ? [] : available(config);
    this.metric = config.checkpoint.best_checkpoint_metric ?? measured[0] ?? null;
    this.maximise = config.checkpoint.maximize_best_checkpoint_metric ?? this.metric !== 'loss';
    if (this.metric !== null && this.metric !== 'loss' && !measured.includes(this.metric)) {
      throw new D2vError(
        `checkpoint.best_checkpoint_metric is "${this.metric}", but this run measures only ${['loss', ...measured].join(', ')}` +
          `${config.eval.interval_updates === null ? ' (set eval.interval_updates for the others)' : ''}`,
      );
    }
    if (this.best?.metric !== this.metric) this.best = null;
  }

  /** Whether the metric comes from evaluations (then a new best is saved at once) or from the training loss. */
  get fromEvaluation(): boolean {
    return this.metric !== 'loss';
  }

  /** Takes a value (undefined: not measured) and says whether it is the best so far. */
  offer(update: number, value: number | undefined): boolean {
    if (this.metric === null || value === undefined || !Number.isFinite(value)) return false;
    const { best } = this;
    if (best && (this.maximise ? value <= best.value : value >= best.value)) return false;
    this.best = { metric: this.metric, value, update };
    return true;
  }

  /** The tracked metric's value among others. */
  pick(metrics: Readonly<Record<string, number>>): number | undefined {
    return this.metric === null ? undefined : metrics[this.metric];
  }

  state(): BestState {
    return this.best && { ...this.best };
  }
}

function available(config: AnyConfig): string[] {
  return modalitiesOf(config).flatMap((name) =>
    ofModality(viewOf(config, name).eval).map((metric) => `${metric}${metricSuffix(config, name)}`),
  );
}

const ofModality = ({ knn, linear }: RunConfig['eval']): string[] => [
  ...(knn ? EVAL_METRICS.knn : []),
  ...(linear ? EVAL_METRICS.linear : []),
];
