/** How slowly the teacher follows the student. */
import { D2vError } from '../errors.js';
import type { ModelConfig } from './config.js';

export type EmaConfig = Pick<ModelConfig, 'ema_decay' | 'ema_end_decay' | 'ema_anneal_end_step'>;

/**
 * The decay of the teacher's moving average, annealed linearly from `ema_decay` to `ema_end_decay` (data2vec 2.0,
 * section 3.1): teacher = decay * teacher + (1 - decay) * student.
 */
export class EmaSchedule {
  private readonly start: number;
  private readonly end: number;
  private readonly steps: number;

  /** @throws D2vError if the decay is to change but the length of the annealing is unknown */
  constructor(config: EmaConfig) {
    this.start = config.ema_decay;
    this.end = config.ema_end_decay;
    if (this.start !== this.end && config.ema_anneal_end_step === null) {
      throw new D2vError(
        'ema_decay and ema_end_decay differ: set model.ema_anneal_end_step (or optimization.max_update)',
      );
    }
    this.steps = config.ema_anneal_end_step ?? 0;
  }

  /**
   * The decay that follows the `update`-th optimizer step (1, 2, ...). A decay of 1 means that the teacher is left alone;
   * before the first update (0) it is the initial decay.
   */
  decayAt(update: number): number {
    if (this.start === this.end) return this.start;
    if (update >= this.steps) return this.end;
    return this.end - (this.end - this.start) * (1 - update / this.steps);
  }
}
