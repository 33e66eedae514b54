import { join } from 'node:path';
import * as k from '@d2v/cuda-kernels';
import { portableConfig, writeRunConfig } from '../config/files.js';
import { viewOf } from '../config/joint.js';
import type { Data2Vec } from '../data2vec/model.js';
import type { Modality } from '../modality/contract.js';
import { checkSameAssets, type ModelAssets, readAssets } from './assets.js';
import { BestTracker } from './best.js';
import { MODEL_FILE, readCheckpoint, readModelFile } from './checkpoint.js';
import { RunClock } from './clock.js';
import { describeEffectiveBatch } from './effective-batch.js';
import { Evaluators } from './evaluators.js';
import type { TrainerListener } from './events.js';
import { NonFiniteGuard } from './guards.js';
import { idleGpu, resolveDevice, setUpMachine } from './machine.js';
import { Meters } from './meters.js';
import { modalityChoice, updateShares } from './modality-choice.js';
import {
  checkDiskSpace,
  checkRunMemory,
  createModel,
  createOptimizer,
  parameterCount,
} from './model-setup.js';
import type { Adam } from './optimizer.js';
import { resumeWarnings } from './resume-check.js';
import { RunData } from './run-data.js';
import type { RunFolder } from './run-folder.js';
import { RunLog } from './run-log.js';
import { RunPart } from './run-part.js';
import { createSchedule } from './schedules.js';
import { StopRules } from './stop-rules.js';
import type { StopSignal } from './stop-signal.js';
import type { TrainOptions, TrainResult } from './train.js';
import { type LoopResult, Trainer, type TrainerParts } from './trainer.js';
import type { TrainerState } from './trainer-state.js';

type Machine = TrainerState['machine'];

/**
 * One process of a run: puts the parts together, lets the trainer work, and takes them down again. A run of one modality
 * is one of several with a single part.
 */
export class Run {
  private readonly cleanups: (() => Promise<void> | void)[] = [];

  constructor(
    private readonly options: TrainOptions,
    /** In the order of the config. */
    private readonly modalities: readonly Modality[],
    private readonly folder: RunFolder,
    private readonly stopSignal: StopSignal,
    private readonly emit: TrainerListener,
  ) {}

  async execute(): Promise<TrainResult> {
    try {
      return await this.train();
    } finally {
      for (const cleanup of this.cleanups.reverse()) await cleanup();
    }
  }

  private async train(): Promise<TrainResult> {
    const { config, runDir } = this.options;
    const device = resolveDevice(config.common.device);
    const machine = setUpMachine(config, device);
    const idle = idleGpu(config.common.device);
    if (idle) this.emit({ type: 'warning', message: idle });
    const { optimization, lr_scheduler } = config;
    this.warnOfWarmup();
    const schedule = createSchedule(lr_scheduler, optimization.lr, optimization.max_update);
    const { data, assets } = await this.openData();
    const model = createModel(config, this.modalities, device);
    this.cleanups.push(() => model.dispose());
    const optimizer = createOptimizer(config, model);
    const state = await this.restore(model, optimizer, machine);
    const best = new BestTracker(config, state?.best);
    await writeRunConfig(runDir, this.modalities, config);
    const parts = await this.openParts(data, state);
    const evaluators = await Evaluators.open(config, model, parts, device);
    await this.checkAndAnnounce(model, parts);
    const trainerParts: TrainerParts = {
      ...(await this.restoredParts(state)),
      config,
      savedConfig: portableConfig(config, this.modalities),
      model,
      optimizer,
      schedule,
      parts: new Map(parts.map((part) => [part.name, part])),
      choose: modalityChoice(config),
      folder: this.folder,
      best,
      evaluators,
      stopSignal: this.stopSignal,
      machine,
      lag: k.asynchronous(device) ? 1 : 0,
      assets,
      emit: this.emit,
    };
    const progress = { update: state?.update ?? 0, samples: state?.samples ?? 0 };
    return this.finish(await new Trainer(trainerParts, progress).run(), trainerParts);
  }

  /** Opens the training part of every modality's data. @throws D2vError if a resumed run would have other assets */
  private async openData(): Promise<{ data: RunData[]; assets: ModelAssets }> {
    const { config, openSource, offline } = this.options;
    const saved = this.savedAssets();
    const log = (message: string) => this.emit({ type: 'info', message });
    const data: RunData[] = [];
    const assets: Record<string, ModelAssets[string]> = {};
    for (const modality of this.modalities) {
      const { name } = modality;
      const own = new RunData({
        config: viewOf(config, name),
        modality,
        openSource: openSource && ((split) => openSource(split, name)),
        offline,
        assets: saved?.[name],
        log,
      });
      this.cleanups.push(() => own.close());
      data.push(own);
      const current = (await own.source('train')).assets?.();
      if (saved) checkSameAssets(name, saved[name], current);
      if (current) assets[name] = current;
    }
    return { data, assets };
  }

  private async openParts(data: readonly RunData[], state: TrainerState | null): Promise<RunPart[]> {
    const { config, runDir } = this.options;
    const parts: RunPart[] = [];
    for (const own of data) {
      const part = await RunPart.open({
        config,
        runDir,
        data: own,
        state: state?.parts[own.modality.name],
        emit: this.emit,
      });
      this.cleanups.push(() => part.close());
      parts.push(part);
    }
    return parts;
  }

  /** Assets of the checkpoint to go on from; null for a new run. */
  private savedAssets(): ModelAssets | null {
    const { store, resumeFrom } = this.folder;
    return resumeFrom === null ? null : readModelFile(join(store.path(resumeFrom), MODEL_FILE), readAssets);
  }

  private warnOfWarmup(): void {
    const { lr_scheduler, optimization } = this.options.config;
    const { warmup_updates: warmup, name } = lr_scheduler;
    const { max_update: updates, lr } = optimization;
    if (name === 'tri_stage' || updates === null || warmup < updates) return;
    const message = `the learning rate never reaches ${lr}: lr_scheduler.warmup_updates is ${warmup}, optimization.max_update ${updates}`;
    this.emit({ type: 'warning', message });
  }

  /** Loads the checkpoint to resume from, if any, and warns about what has changed since. */
  private async restore(model: Data2Vec, optimizer: Adam, machine: Machine): Promise<TrainerState | null> {
    const { folder, options } = this;
    if (folder.resumeFrom === null) return null;
    const path = folder.store.path(folder.resumeFrom);
    const state = await readCheckpoint(path, model, optimizer);
    const before = readModelFile(join(path, MODEL_FILE), (file) =>
      JSON.parse(file.metadata.get('config') ?? '{}'),
    );
    const warnings = resumeWarnings(
      { config: before, machine: state.machine },
      { config: portableConfig(options.config, this.modalities), machine },
    );
    for (const message of warnings) this.emit({ type: 'warning', message });
    return state;
  }

  /** What can be known before the first update to go wrong later: memory, disk space. */
  private async checkAndAnnounce(model: Data2Vec, parts: readonly RunPart[]): Promise<void> {
    const { config, runDir } = this.options;
    const memory = await checkRunMemory(config, model, parts);
    await checkDiskSpace(model, runDir);
    const shares = new Map(updateShares(config));
    this.emit({
      type: 'start',
      runDir,
      resumedFrom: this.folder.resumeFrom,
      maxUpdate: config.optimization.max_update,
      parameters: parameterCount(model),
      modalities: parts.map(({ name }) => name),
      effectiveBatch: parts.map(({ name, view, epoch, modality }) =>
        describeEffectiveBatch(view, epoch, modality.sizeUnit, shares.get(name)),
      ),
      memory,
      samplesPerEpoch: parts.reduce((sum, { epoch }) => sum + epoch.samples, 0),
    });
  }

  /** The parts that go on from a checkpoint's state. */
  private async restoredParts(state: TrainerState | null) {
    const { config } = this.options;
    const { stop, optimization } = config;
    const log = await RunLog.open(this.folder, config, this.emit);
    this.cleanups.push(() => log.close());
    const names = this.modalities.map(({ name }) => name);
    return {
      log,
      meters: new Meters(state?.meters),
      rules: new StopRules(stop, optimization.max_update, names, state?.stop),
      nonFinite: new NonFiniteGuard(stop.max_nonfinite, state?.nonFinite),
      clock: new RunClock(state?.seconds ?? 0, state?.update ?? 0, {
        maxUpdate: optimization.max_update,
        maxSeconds: stop.max_seconds,
      }),
    };
  }

  private finish(
    { stop, checkpoint, ...end }: LoopResult,
    { clock, parts, nonFinite }: TrainerParts,
  ): TrainResult {
    this.emit({ type: 'stop', reason: stop.reason, message: stop.message, update: end.update });
    return {
      ...stop,
      update: end.update,
      samples: end.samples,
      seconds: clock.seconds,
      runDir: this.options.runDir,
      checkpoint: `checkpoints/${checkpoint}`,
      metrics: end.metrics,
      badSamples: [...parts.values()].reduce((sum, { bad }) => sum + bad.count, 0),
      skippedUpdates: nonFinite.skipped,
    };
  }
}
