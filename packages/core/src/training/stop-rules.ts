import type { RunConfig } from '../config/schema.js';

/** Why a run ended in good order. Everything else is an error. */
export type StopReason = 'max_update' | 'max_seconds' | 'loss_threshold' | 'plateau' | 'signal';

export interface Stop {
  reason: StopReason;
  /** One line for the user. */
  message: string;
}

/** What the rules remember; part of a checkpoint. */
export interface StopState {
  /** Losses of the latest updates, oldest first. */
  recent: number[];
  /** Lowest smoothed loss that counted as an improvement, and the update it was seen at. */
  best: { loss: number; update: number } | null;
}

/** Decides after each update whether the run is over. Depends on nothing but the losses and the clock it is given. */
export class StopRules {
  private readonly recent: number[];
  private best: StopState['best'];
  private readonly window: number;

  constructor(
    private readonly config: RunConfig['stop'],
    private readonly maxUpdate: number | null,
    state: StopState = { recent: [], best: null },
  ) {
    this.recent = [...state.recent];
    this.best = state.best && { ...state.best };
    this.window = config.loss_window;
  }

  /** Mean loss of the last `stop.loss_window` updates; undefined before there are so many. */
  get smoothedLoss(): number | undefined {
    if (this.recent.length < this.window) return undefined;
    return this.recent.reduce((sum, loss) => sum + loss, 0) / this.window;
  }

  /** Mean of the latest losses, up to `stop.loss_window` of them; undefined before the first. */
  get meanLoss(): number | undefined {
    const { length } = this.recent;
    return length === 0 ? undefined : this.recent.reduce((sum, loss) => sum + loss, 0) / length;
  }

  /**
   * @param update updates done
   * @param loss of this update (normalised), or null if it was skipped
   * @param seconds wall time of the whole run so far
   */
  after(update: number, loss: number | null, seconds: number): Stop | null {
    if (loss !== null) this.remember(update, loss);
    return this.check(update, seconds);
  }

  /** The rules alone, without a new loss: a resumed run may have nothing left to do. */
  check(update: number, seconds: number): Stop | null {
    const { loss_threshold: threshold, plateau_patience: patience, max_seconds: limit } = this.config;
    const loss = this.smoothedLoss;
    if (this.maxUpdate !== null && update >= this.maxUpdate) {
      return { reason: 'max_update', message: `reached optimization.max_update (${this.maxUpdate})` };
    }
    if (threshold !== null && loss !== undefined && loss <= threshold) {
      return {
        reason: 'loss_threshold',
        message: `the mean loss of the last ${this.window} updates, ${loss.toPrecision(4)}, is at or below stop.loss_threshold (${threshold})`,
      };
    }
    if (patience !== null && this.best && update - this.best.update >= patience) {
      return {
        reason: 'plateau',
        message:
          `the mean loss of ${this.window} updates has not improved by ${this.config.plateau_min_delta * 100} % for ` +
          `${update - this.best.update} updates (stop.plateau_patience); lowest was ${this.best.loss.toPrecision(4)} at update ${this.best.update}`,
      };
    }
    if (limit !== null && seconds >= limit) {
      return {
        reason: 'max_seconds',
        message: `${Math.round(seconds)} s are over (stop.max_seconds ${limit})`,
      };
    }
    return null;
  }

  state(): StopState {
    return { recent: [...this.recent], best: this.best && { ...this.best } };
  }

  private remember(update: number, loss: number): void {
    this.recent.push(loss);
    if (this.recent.length > this.window) this.recent.shift();
    const smoothed = this.smoothedLoss;
    if (smoothed === undefined) return;
    if (!this.best || smoothed < this.best.loss - Math.abs(this.best.loss) * this.config.plateau_min_delta) {
      this.best = { loss: smoothed, update };
    }
  }
}
