import { D2vError } from '../errors.js';

/** What the non-finite guard remembers; part of a checkpoint. */
export interface NonFiniteState {
  skipped: number;
  /** By modality: others that are well must not hide that one is not. */
  inRow: Record<string, number>;
}

/**
 * Counts updates whose loss or gradient is not a finite number. Such an update is skipped: weights, moments and teacher
 * stay as they are. Many in a row mean that the run has diverged, and end it.
 */
export class NonFiniteGuard {
  private readonly counts: NonFiniteState;

  constructor(
    private readonly limit: number,
    { skipped, inRow }: NonFiniteState = { skipped: 0, inRow: {} },
  ) {
    this.counts = { skipped, inRow: { ...inRow } };
  }

  get skipped(): number {
    return this.counts.skipped;
  }

  /**
   * @param modality of the update
   * @returns whether the update can be applied
   * @throws D2vError after `stop.max_nonfinite` of one modality in a row
   */
  accept(update: number, modality: string, loss: number, gradNorm: number): boolean {
    const { inRow } = this.counts;
    if (Number.isFinite(loss) && Number.isFinite(gradNorm)) {
      inRow[modality] = 0;
      return true;
    }
    this.counts.skipped++;
    inRow[modality] = (inRow[modality] ?? 0) + 1;
    if (inRow[modality] < this.limit) return false;
    const of = Object.keys(inRow).length > 1 ? `of modality ${modality} ` : '';
    const what = Number.isFinite(loss) ? `gradient norm is ${gradNorm}` : `loss is ${loss}`;
    throw new D2vError(
      `the run has diverged: at update ${update} the ${what}, and ${inRow[modality]} updates ${of}in a row were not finite. ` +
        'Resume from the last checkpoint with a lower optimization.lr, a longer lr_scheduler.warmup_updates or a smaller optimization.clip_norm (4 is the usual value)',
    );
  }

  state(): NonFiniteState {
    return { skipped: this.counts.skipped, inRow: { ...this.counts.inRow } };
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
        'Start again with a lower optimization.lr or a higher model.ema_decay; the limit 0 turns this guard off',
    );
  }
}
