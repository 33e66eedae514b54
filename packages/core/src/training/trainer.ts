import type { AnyConfig } from '../config/joint.js';
import type { Data2Vec } from '../data2vec/model.js';
import type { ModelAssets } from './assets.js';
import type { BestTracker } from './best.js';
import { writeCheckpoint } from './checkpoint.js';
import type { RunClock } from './clock.js';
import type { Evaluators } from './evaluators.js';
import type { TrainerListener } from './events.js';
import { checkCollapse, type NonFiniteGuard } from './guards.js';
import type { Meters } from './meters.js';
import { metricSuffix, suffixed } from './metric-names.js';
import type { Adam } from './optimizer.js';
import type { RunFolder } from './run-folder.js';
import type { RunLog } from './run-log.js';
import type { RunPart } from './run-part.js';
import type { Schedule } from './schedules.js';
import type { Stop, StopRules } from './stop-rules.js';
import type { StopSignal } from './stop-signal.js';
import { FORMAT, type TrainerState } from './trainer-state.js';
import { runUpdate, type UpdateResult } from './update-step.js';

/** What a run is made of; see `train.ts`, which puts it together. */
export interface TrainerParts {
  config: AnyConfig;
  /** The same as it is saved with the model. */
  savedConfig: AnyConfig;
  model: Data2Vec;
  optimizer: Adam;
  schedule: Schedule;
  /** By modality. */
  parts: ReadonlyMap<string, RunPart>;
  /** The modality of the update that follows so many. */
  choose: (update: number) => string;
  folder: RunFolder;
  log: RunLog;
  meters: Meters;
  rules: StopRules;
  nonFinite: NonFiniteGuard;
  best: BestTracker;
  evaluators: Evaluators | null;
  clock: RunClock;
  stopSignal: StopSignal;
  machine: TrainerState['machine'];
  /**
   * How many updates may be under way while the next one is enqueued: 1 on a device that works on its own, so that it never
   * waits for the host, else 0.
   */
  lag: number;
  /** What is saved beside the weights. */
  assets: ModelAssets;
  emit: TrainerListener;
}

/** Where the run stands; with the parts' own states, a checkpoint. */
export type Progress = Pick<TrainerState, 'update' | 'samples'>;

export interface LoopResult extends Progress {
  stop: Stop;
  /** Update of the checkpoint that `last` points to. */
  checkpoint: number;
  metrics: Record<string, number>;
}

/** An update that the device may still be working on, and how things stood when it was enqueued. */
interface Enqueued {
  /** Number of the update: 1, 2, ... */
  update: number;
  modality: string;
  lr: number;
  samples: number;
  epochs: Record<string, number>;
  badSamples: number;
  read: () => UpdateResult;
}

/**
 * The loop: data, update, metrics, evaluation, checkpoint, until a rule or a signal ends it. With a lag, the results of an
 * update are looked at when the next one has been enqueued; whatever needs the model as it is after an update waits for it.
 */
export class Trainer {
  private readonly progress: Progress;
  /** Update of the last checkpoint; -1 before the first. */
  private saved: number;
  private lastMetrics: Record<string, number> = {};
  /** Oldest first. */
  private readonly pending: Enqueued[] = [];
  /** Modalities that have had an update in this process. */
  private readonly begun = new Set<string>();
  /** Since the last line of the log. */
  private interval = { start: performance.now(), samples: 0 };

  constructor(
    private readonly parts: TrainerParts,
    progress: Progress,
  ) {
    this.progress = { ...progress };
    this.saved = parts.folder.resumeFrom ?? -1;
  }

  /** @throws D2vError when the run cannot go on; its checkpoints are then as the last save left them */
  async run(): Promise<LoopResult> {
    const { rules, clock } = this.parts;
    this.takeWaited();
    let stop = this.signalled() ?? rules.check(this.progress.update, clock.seconds);
    while (!stop) stop = await this.update();
    this.settle(0);
    if (this.saved !== this.progress.update) await this.save(false);
    await this.parts.log.drawCurves();
    return { ...this.progress, stop, checkpoint: this.saved, metrics: this.lastMetrics };
  }

  private async update(): Promise<Stop | null> {
    await this.enqueue();
    const stop = this.settle(this.needsModel() ? 0 : this.parts.lag);
    await this.atIntervals(stop);
    return stop ?? this.signalled();
  }

  private async enqueue(): Promise<void> {
    const { config, model, optimizer, schedule, parts, choose } = this.parts;
    const part = parts.get(choose(this.progress.update))!;
    const { batches, samples } = await part.next();
    const lr = schedule(this.progress.update);
    const read = await runUpdate(model, optimizer, batches, {
      modality: part.name,
      lr,
      clipNorm: config.optimization.clip_norm,
      // Not the first of a modality: kernels are loaded at their first start, and the GPU's libraries set themselves up.
      graph: config.common.cuda_graphs && this.begun.has(part.name),
    });
    this.begun.add(part.name);
    this.progress.update++;
    this.progress.samples += samples;
    const all = [...parts.values()];
    this.pending.push({
      update: this.progress.update,
      modality: part.name,
      lr,
      samples,
      epochs: Object.fromEntries(
        all.map(({ name, epochs }) => [`epoch${metricSuffix(config, name)}`, epochs]),
      ),
      badSamples: all.reduce((sum, { bad }) => sum + bad.count, 0),
      read,
    });
  }

  /** Looks at the results of all updates but the latest `leave`; of really all once one of them ends the run. */
  private settle(leave: number): Stop | null {
    let stop: Stop | null = null;
    while (this.pending.length > (stop ? 0 : leave)) {
      const own = this.settleOne(this.pending.shift()!);
      stop ??= own;
    }
    return stop;
  }

  private settleOne(enqueued: Enqueued): Stop | null {
    const { config, rules, clock, meters } = this.parts;
    const { update, modality } = enqueued;
    const result = enqueued.read();
    this.interval.samples += enqueued.samples;
    const metrics = suffixed({ loss: result.loss, ...result.metrics }, config, modality);
    const applied = this.judge(update, modality, result, metrics);
    // The mean over all updates comes first, whatever modality they are of.
    if (applied) meters.add({ loss: result.loss, ...metrics });
    this.announce(enqueued, applied ? result.loss : Number.NaN);
    const stop = rules.after(update, modality, applied ? result.loss : null, clock.seconds);
    if (isDue(config.common.log_interval, update) || stop) this.logMetrics(enqueued);
    return stop;
  }

  /** Whether something asks for the model, or for all results, as they are after the latest update. */
  private needsModel(): boolean {
    const { config, evaluators } = this.parts;
    const { update } = this.progress;
    return (
      isDue(config.checkpoint.save_interval_updates, update) ||
      (evaluators !== null && isDue(config.eval.interval_updates, update)) ||
      (config.model.log_norms && isDue(config.common.log_interval, update)) ||
      update === config.optimization.max_update
    );
  }

  private async atIntervals(stop: Stop | null): Promise<void> {
    const { config, best, evaluators, rules } = this.parts;
    const { update } = this.progress;
    const start = performance.now();
    let isBest = false;
    if (evaluators && isDue(config.eval.interval_updates, update)) {
      const metrics = await evaluators.run();
      this.parts.log.record('eval', update, metrics);
      isBest = best.fromEvaluation && best.offer(update, best.pick(metrics));
    }
    const save = isDue(config.checkpoint.save_interval_updates, update) || stop !== null;
    if (save && !best.fromEvaluation) isBest = best.offer(update, rules.meanLoss);
    if (save || isBest) await this.save(isBest);
    // Speed is that of updates: evaluations and checkpoints do not count.
    this.interval.start += performance.now() - start;
  }

  /** Whether the update was applied. @throws D2vError when the run has diverged or collapsed */
  private judge(
    update: number,
    modality: string,
    { loss, gradNorm, applied }: UpdateResult,
    metrics: Record<string, number>,
  ): boolean {
    const { config, nonFinite, emit } = this.parts;
    if (!nonFinite.accept(update, modality, loss, applied ? gradNorm : Number.NaN)) {
      emit({ type: 'warning', message: `update ${update} was skipped: its loss or gradient is not finite` });
      return false;
    }
    checkCollapse(update, metrics, {
      minTargetVar: config.model.min_target_var,
      minPredVar: config.model.min_pred_var,
      after: config.stop.collapse_after,
    });
    return true;
  }

  private announce({ update, modality, lr }: Enqueued, loss: number): void {
    const { clock, emit, config } = this.parts;
    emit({
      type: 'update',
      update,
      modality,
      maxUpdate: config.optimization.max_update,
      progress: clock.progress(update),
      loss,
      lr,
      samplesPerSecond: this.interval.samples / this.intervalSeconds(),
      etaSeconds: clock.eta(update),
    });
  }

  private logMetrics({ update, lr, epochs, badSamples }: Enqueued): void {
    const { meters, model, nonFinite, clock, log, config } = this.parts;
    // No line for an interval of skipped updates only.
    if (meters.empty) return;
    const seconds = this.intervalSeconds();
    const { loss, ...means } = meters.flush() as { loss: number };
    this.lastMetrics = {
      ...epochs,
      loss,
      ...means,
      ema_decay: model.emaSchedule.decayAt(update),
      lr,
      ...(config.model.log_norms ? model.norms() : {}),
      bad_samples: badSamples,
      skipped_updates: nonFinite.skipped,
      samples_per_second: this.interval.samples / seconds,
      wait_share: this.takeWaited() / seconds,
      seconds: clock.seconds,
    };
    log.record('log', update, this.lastMetrics);
    this.interval = { start: performance.now(), samples: 0 };
  }

  /** Seconds that the updates have waited for data since the last call. */
  private takeWaited(): number {
    return [...this.parts.parts.values()].reduce((sum, part) => sum + part.takeWaited(), 0);
  }

  private intervalSeconds(): number {
    return Math.max(1e-9, (performance.now() - this.interval.start) / 1000);
  }

  private async save(best: boolean): Promise<void> {
    const { folder, log, emit, model, optimizer, savedConfig, assets } = this.parts;
    const { update } = this.progress;
    const start = performance.now();
    log.sync();
    const state = this.state();
    await folder.store.save(update, best, (path) =>
      writeCheckpoint(path, model, optimizer, savedConfig, state, assets),
    );
    this.saved = update;
    await log.drawCurves();
    const seconds = (performance.now() - start) / 1000;
    emit({ type: 'checkpoint', update, path: `checkpoints/${update}`, best, seconds });
  }

  private state(): TrainerState {
    const { clock, optimizer, meters, rules, nonFinite, best, machine, parts } = this.parts;
    return {
      format: FORMAT,
      ...this.progress,
      parts: Object.fromEntries([...parts].map(([name, part]) => [name, part.state()])),
      seconds: clock.seconds,
      adamSteps: optimizer.stepCounts(),
      meters: meters.state(),
      stop: rules.state(),
      nonFinite: nonFinite.state(),
      best: best.state(),
      machine,
    };
  }

  private signalled(): Stop | null {
    const cause = this.parts.stopSignal.requested;
    if (cause === null) return null;
    return { reason: 'signal', message: `stopped by ${cause} after update ${this.progress.update}` };
  }
}

const isDue = (interval: number | null, update: number): boolean =>
  interval !== null && interval > 0 && update % interval === 0;
