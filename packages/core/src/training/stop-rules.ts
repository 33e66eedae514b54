import type { RunConfig } from '../config/schema.js';

/** Why a run ended in good order. Everything else is an error. */
export type StopReason = 'max_update' | 'max_seconds' | 'loss_threshold' | 'plateau' | 'signal';

export interface Stop {
  reason: StopReason;
  /** One line for the user. */
  message: string;
}

/** What the rules remember of one modality's losses. */
export interface LossWindowState {
  /** Losses of its latest updates, oldest first. */
  recent: number[];
  /** Lowest smoothed loss that counted as an improvement, and the update it was seen at. */
  best: { loss: number; update: number } | null;
}

/** What the rules remember, by modality; part of a checkpoint. */
export type StopState = Record<string, LossWindowState>;

/**
 * Decides after each update whether the run is over. Depends on nothing but the losses and the clock it is given. Losses
 * of different modalities are not comparable: each has its own window, and the run is over when all of them say so.
 */
export class StopRules {
  private readonly windows: ReadonlyMap<string, LossWindow>;

  /** @param modalities of the run */
  constructor(
    private readonly config: RunConfig['stop'],
    private readonly maxUpdate: number | null,
    modalities: readonly string[],
    state: StopState = {},
  ) {
    this.windows = new Map(modalities.map((name) => [name, new LossWindow(config, state[name])]));
  }

  /** Mean of the latest losses, each modality counting the same; undefined before every one has had an update. */
  get meanLoss(): number | undefined {
    const means = this.all.map((window) => window.meanLoss);
    return means.every((mean) => mean !== undefined) ? meanOf(means) : undefined;
  }

  /**
   * @param update updates done
   * @param modality of this update
   * @param loss of this update (normalised), or null if it was skipped
   * @param seconds wall time of the whole run so far
   */
  after(update: number, modality: string, loss: number | null, seconds: number): Stop | null {
    if (loss !== null) this.windows.get(modality)!.remember(update, loss);
    return this.check(update, seconds);
  }

  /** The rules alone, without a new loss: a resumed run may have nothing left to do. */
  check(update: number, seconds: number): Stop | null {
    const { max_seconds: limit } = this.config;
    if (this.maxUpdate !== null && update >= this.maxUpdate) {
      return { reason: 'max_update', message: `reached optimization.max_update (${this.maxUpdate})` };
    }
    const stop = this.checkThreshold() ?? this.checkPlateau(update);
    if (stop) return stop;
    if (limit !== null && seconds >= limit) {
      return {
        reason: 'max_seconds',
        message: `${Math.round(seconds)} s are over (stop.max_seconds ${limit})`,
      };
    }
    return null;
  }

  state(): StopState {
    return Object.fromEntries([...this.windows].map(([name, window]) => [name, window.state()]));
  }

  private checkThreshold(): Stop | null {
    const { loss_threshold: threshold, loss_window: window } = this.config;
    if (threshold === null) return null;
    const low = this.all.every(({ smoothed }) => smoothed !== undefined && smoothed <= threshold);
    if (!low) return null;
    const [losses, are] = this.described(({ smoothed }) => smoothed!.toPrecision(4), 'is', 'are all');
    return {
      reason: 'loss_threshold',
      message: `the mean loss of the last ${window} updates, ${losses}, ${are} at or below stop.loss_threshold (${threshold})`,
    };
  }

  private checkPlateau(update: number): Stop | null {
    const { plateau_patience: patience, plateau_min_delta: delta, loss_window: window } = this.config;
    if (patience === null) return null;
    const since = this.all.map(({ best }) => (best ? update - best.update : Number.NEGATIVE_INFINITY));
    if (Math.min(...since) < patience) return null;
    const [lowest] = this.described(({ best }) => `${best!.loss.toPrecision(4)} at update ${best!.update}`);
    return {
      reason: 'plateau',
      message:
        `the mean loss of ${window} updates has not improved by ${delta * 100} % for ` +
        `${Math.min(...since)} updates (stop.plateau_patience); lowest was ${lowest}`,
    };
  }

  private get all(): LossWindow[] {
    return [...this.windows.values()];
  }

  /** What there is to say of each window, with the verb for one or several. */
  private described(
    say: (window: LossWindow) => string,
    one = '',
    several = '',
  ): [text: string, verb: string] {
    const alone = this.windows.size === 1;
    const parts = [...this.windows].map(([name, window]) => (alone ? say(window) : `${name} ${say(window)}`));
    return [parts.join(', '), alone ? one : several];
  }
}

/** The latest losses of one modality. */
class LossWindow {
  private readonly recent: number[];
  best: LossWindowState['best'];

  constructor(
    private readonly config: RunConfig['stop'],
    { recent, best }: LossWindowState = { recent: [], best: null },
  ) {
    this.recent = [...recent];
    this.best = best && { ...best };
  }

  /** Mean of the latest losses, up to `stop.loss_window` of them; undefined before the first. */
  get meanLoss(): number | undefined {
    return this.recent.length === 0 ? undefined : meanOf(this.recent);
  }

  /** Mean loss of the last `stop.loss_window` updates; undefined before there are so many. */
  get smoothed(): number | undefined {
    return this.recent.length < this.config.loss_window ? undefined : this.meanLoss;
  }

  remember(update: number, loss: number): void {
    const { loss_window: size, plateau_min_delta: delta } = this.config;
    this.recent.push(loss);
    if (this.recent.length > size) this.recent.shift();
    const { smoothed } = this;
    if (smoothed === undefined) return;
    if (!this.best || smoothed < this.best.loss - Math.abs(this.best.loss) * delta) {
      this.best = { loss: smoothed, update };
    }
  }

  state(): LossWindowState {
    return { recent: [...this.recent], best: this.best && { ...this.best } };
  }
}

const meanOf = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;
