import { D2vError } from '../errors.js';

/** What the non-finite guard remembers; part of a checkpoint. */
export interface NonFiniteState {
  skipped: number;
  inRow: number;
}

/**
 * Counts updates whose loss or gradient is not a finite number. Such an update is skipped: weights, moments and teacher
 * stay as they are. Many in a row mean that the run has diverged, and end it.
 */
export class NonFiniteGuard {
  private readonly counts: NonFiniteState;

  constructor(
    private readonly limit: number,
    state: NonFiniteState = { skipped: 0, inRow: 0 },
  ) {
    this.counts = { ...state };
  }

  get skipped(): number {
    return this.counts.skipped;
  }

  /**
   * @returns whether the update can be applied
   * @throws D2vError after `stop.max_nonfinite` in a row
   */
  accept(update: number, loss: number, gradNorm: number): boolean {
    if (Number.isFinite(loss) && Number.isFinite(gradNorm)) {
      this.counts.inRow = 0;
      return true;
    }
    this.counts.skipped++;
    this.counts.inRow++;
    if (this.counts.inRow < this.limit) return false;
    const what = Number.isFinite(loss) ? `gradient norm is ${gradNorm}` : `loss is ${loss}`;
    throw new D2vError(
      `the run has diverged: at update ${update} the ${what}, and ${this.counts.inRow} updates in a row were not finite. ` +
        'Resume from the last checkpoint with a lower optimization.lr, a longer lr_scheduler.warmup_updates or a smaller optimization.clip_norm (4 is the usual value)',
    );
  }

  state(): NonFiniteState {
    return { ...this.counts };
  }
}

/** Limits of the collapse guard: `model.min_target_var`, `model.min_pred_var`, `stop.collapse_after`. */
export interface CollapseLimits {
  minTargetVar: number;
  minPredVar: number;
  after: number;
}

/**
 * Stops a run whose targets or predictions have become (nearly) the same everywhere: the trivial solution of
 * self-distillation, from which training does not come back.
 *
 * @param metrics of one update; names that begin with `target_var` and `pred_var` are standard deviations averaged over
 *   dimensions
 * @throws D2vError when one is below its limit and `update` is past `limits.after`
 */
export function checkCollapse(
  update: number,
  metrics: Readonly<Record<string, number>>,
  limits: CollapseLimits,
): void {
  if (update <= limits.after) return;
  for (const [name, value] of Object.entries(metrics)) {
    const [limit, key, who] = name.startsWith('target_var')
      ? [limits.minTargetVar, 'model.min_target_var', 'targets']
      : name.startsWith('pred_var')
        ? [limits.minPredVar, 'model.min_pred_var', 'predictions']
        : [0, '', ''];
    if (value >= limit) continue;
    throw new D2vError(
      `the model has collapsed: at update ${update} the ${who} hardly differ any more (${name} ${value.toPrecision(3)} is below ${key} ${limit}). ` +
        'Go back to an earlier checkpoint, with a lower optimization.lr or a higher model.ema_decay; the limit 0 turns this guard off',
    );
  }
}
