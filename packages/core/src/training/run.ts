import { join } from 'node:path';
import { portableConfig, writeRunConfig } from '../config/files.js';
import type { RunConfig } from '../config/schema.js';
import { lengthsOf } from '../data/lengths.js';
import type { SamplePosition } from '../data/sampler.js';
import { createUpdateSampler, type EpochContents, type UpdateSampler } from '../data/update-sampler.js';
import type { Data2Vec } from '../data2vec/model.js';
import { evaluationConfig } from '../evaluation/evaluation-config.js';
import type { Assets, Batch, DataSource } from '../modality/contract.js';
import { checkSameAssets, type ModelAssets, readAssets } from './assets.js';
import { BadSamples } from './bad-samples.js';
import { BestTracker } from './best.js';
import { MODEL_FILE, readCheckpoint, readModelFile } from './checkpoint.js';
import { RunClock } from './clock.js';
import { describeEffectiveBatch } from './effective-batch.js';
import { Evaluator } from './evaluator.js';
import type { TrainerListener } from './events.js';
import { NonFiniteGuard } from './guards.js';
import { resolveDevice, setUpMachine } from './machine.js';
import { loadLongest } from './memory-probe.js';
import { Meters } from './meters.js';
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
import { createSchedule } from './schedules.js';
import { StopRules } from './stop-rules.js';
import type { StopSignal } from './stop-signal.js';
import type { TrainOptions, TrainResult } from './train.js';
import { type LoopResult, Trainer, type TrainerParts } from './trainer.js';
import type { TrainerState } from './trainer-state.js';
import { trainingJobs, UpdateFeed } from './update-feed.js';

type Machine = TrainerState['machine'];

const START: SamplePosition = { epoch: 0, offset: 0 };

/** One process of a run: puts the parts together, lets the trainer work, and takes them down again. */
export class Run {
  private readonly cleanups: (() => Promise<void> | void)[] = [];

  constructor(
    private readonly options: TrainOptions,
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
    const { config, modality, runDir } = this.options;
    const device = resolveDevice(config.common.device);
    const machine = setUpMachine(config, device);
    const { optimization, lr_scheduler } = config;
    this.warnOfWarmup();
    const schedule = createSchedule(lr_scheduler, optimization.lr, optimization.max_update);
    const saved = this.savedAssets();
    const data = this.openData(config, saved?.[modality.name]);
    const source = await data.source('train');
    const assets = source.assets?.();
    if (saved) checkSameAssets(modality.name, saved[modality.name], assets);
    const model = createModel(config, modality, device);
    this.cleanups.push(() => model.dispose());
    const optimizer = createOptimizer(config, model);
    const state = await this.restore(model, optimizer, machine);
    const best = new BestTracker(config, state?.best);
    const evaluator = await this.evaluator(model, data, assets, device);
    await writeRunConfig(runDir, modality, config);
    const lengths = lengthsOf(source);
    const { feed, sampler } = this.openFeed(data, source, lengths, state);
    const epoch = sampler.contents();
    const longest = lengths && (await loadLongest(data.local(source), lengths));
    await this.checkAndAnnounce(model, longest ?? { batch: await feed.peek(), longest: null }, epoch);
    const parts: TrainerParts = {
      ...(await this.restoredParts(source, state)),
      config,
      savedConfig: portableConfig(config, modality),
      model,
      optimizer,
      schedule,
      feed,
      epochSize: epoch.samples,
      folder: this.folder,
      best,
      evaluator,
      stopSignal: this.stopSignal,
      machine,
      assets: assets ? { [modality.name]: assets } : {},
      emit: this.emit,
    };
    const progress = {
      update: state?.update ?? 0,
      samples: state?.samples ?? 0,
      position: state?.position ?? START,
    };
    return this.finish(await new Trainer(parts, progress).run(), parts);
  }

  /** Assets of the checkpoint to go on from; null for a new run. */
  private savedAssets(): ModelAssets | null {
    const { store, resumeFrom } = this.folder;
    return resumeFrom === null ? null : readModelFile(join(store.path(resumeFrom), MODEL_FILE), readAssets);
  }

  private openData(config: RunConfig, assets: Assets | undefined): RunData {
    const { modality, openSource, offline } = this.options;
    const log = (message: string) => this.emit({ type: 'info', message });
    // Data given in the program is the training's.
    const own = config === this.options.config ? openSource : undefined;
    const data = new RunData({ config, modality, openSource: own, offline, assets, log });
    this.cleanups.push(() => data.close());
    return data;
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
      { config: portableConfig(options.config, options.modality), machine },
    );
    for (const message of warnings) this.emit({ type: 'warning', message });
    return state;
  }

  private async evaluator(
    model: Data2Vec,
    training: RunData,
    assets: Assets | undefined,
    device: string,
  ): Promise<Evaluator | null> {
    const { modality } = this.options;
    if (this.options.config.eval.interval_updates === null) return null;
    const config = await evaluationConfig(modality, this.options.config);
    const data = config === this.options.config ? training : this.openData(config, assets);
    const [train, valid] = [await data.source('train'), await data.source('valid')];
    return new Evaluator({ model, config, modality, train, valid, device });
  }

  private openFeed(
    data: RunData,
    source: DataSource,
    lengths: Float64Array | null,
    state: TrainerState | null,
  ): { sampler: UpdateSampler; feed: UpdateFeed } {
    const { config } = this.options;
    const sampler = createUpdateSampler({
      data: config.data,
      updateFreq: config.optimization.update_freq,
      seed: config.common.seed,
      samples: source.length,
      lengths,
      start: state?.position,
    });
    if (sampler.moved) {
      const message =
        'the lengths of the samples have changed since the checkpoint: the run goes on with other batches';
      this.emit({ type: 'warning', message });
    }
    const loader = data.loader('train', source, trainingJobs(sampler));
    this.cleanups.push(() => loader.close());
    return { sampler, feed: new UpdateFeed(loader) };
  }

  /** What can be known before the first update to go wrong later: memory, disk space. */
  private async checkAndAnnounce(
    model: Data2Vec,
    probe: { batch: Batch; longest: number | null },
    epoch: EpochContents,
  ): Promise<void> {
    const { config, runDir, modality } = this.options;
    const memory = checkRunMemory(config, model, probe.batch, probe.longest);
    await checkDiskSpace(model, runDir);
    this.emit({
      type: 'start',
      runDir,
      resumedFrom: this.folder.resumeFrom,
      maxUpdate: config.optimization.max_update,
      parameters: parameterCount(model),
      effectiveBatch: describeEffectiveBatch(config, epoch, modality.sizeUnit),
      memory,
      samplesPerEpoch: epoch.samples,
    });
  }

  /** The parts that go on from a checkpoint's state. */
  private async restoredParts(source: DataSource, state: TrainerState | null) {
    const { config, runDir } = this.options;
    const { stop, optimization, common, data } = config;
    const log = await RunLog.open(this.folder, common.tensorboard, this.emit);
    this.cleanups.push(() => log.close());
    return {
      log,
      meters: new Meters(state?.meters),
      rules: new StopRules(stop, optimization.max_update, state?.stop),
      nonFinite: new NonFiniteGuard(stop.max_nonfinite, state?.nonFinite),
      bad: await BadSamples.open({
        runDir,
        maxShare: data.max_bad_share,
        length: source.length,
        root: data.path,
        state: state?.badSamples,
      }),
      clock: new RunClock(state?.seconds ?? 0, state?.update ?? 0, {
        maxUpdate: optimization.max_update,
        maxSeconds: stop.max_seconds,
      }),
    };
  }

  private finish(
    { stop, checkpoint, ...end }: LoopResult,
    { clock, bad, nonFinite }: TrainerParts,
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
      badSamples: bad.count,
      skippedUpdates: nonFinite.skipped,
    };
  }
}
