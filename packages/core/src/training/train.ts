import { join } from 'node:path';
import { writeRunConfig } from '../config/files.js';
import type { RunConfig } from '../config/schema.js';
import { EpochSampler } from '../data/sampler.js';
import type { Data2Vec } from '../data2vec/model.js';
import type { DataSource, DataSplit, Modality } from '../modality/contract.js';
import { BadSamples } from './bad-samples.js';
import { BestTracker } from './best.js';
import { MODEL_FILE, readCheckpoint, readModelFile } from './checkpoint.js';
import { RunClock } from './clock.js';
import { describeEffectiveBatch, samplesPerUpdate } from './effective-batch.js';
import { Evaluator } from './evaluator.js';
import type { TrainerListener } from './events.js';
import { explainWriteError } from './fs-errors.js';
import { NonFiniteGuard } from './guards.js';
import { resolveDevice, setUpMachine } from './machine.js';
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
import { RunFolder } from './run-folder.js';
import { RunLog } from './run-log.js';
import { createSchedule } from './schedules.js';
import { type StopReason, StopRules } from './stop-rules.js';
import { StopSignal } from './stop-signal.js';
import { Trainer } from './trainer.js';
import type { TrainerState } from './trainer-state.js';
import { trainingJobs, UpdateFeed } from './update-feed.js';

export interface TrainOptions {
  /** Resolved and validated, see `resolveConfig`. */
  config: RunConfig;
  /** The loaded plugin of `config.modality`. */
  modality: Modality;
  /** The run folder; made if needed. */
  runDir: string;
  /** Go on from the folder's last checkpoint. Default false: the folder must not hold a run. */
  resume?: boolean;
  /** Told about everything that happens. */
  on?: TrainerListener;
  /** Aborting it finishes the update, saves, and ends the run with reason `signal`. */
  signal?: AbortSignal;
  /** Also listen to SIGINT and SIGTERM of this process. Default false. */
  handleSignals?: boolean;
  /** Data in this process instead of the plugin's; samples are then loaded in this thread. */
  openSource?: (split: DataSplit) => Promise<DataSource>;
  /** Never use the network. Default: `data.offline`. */
  offline?: boolean;
}

export interface TrainResult {
  reason: StopReason;
  /** One line for the user: why the run ended. */
  message: string;
  /** Updates and samples of the whole run, over its resumes. */
  update: number;
  samples: number;
  seconds: number;
  runDir: string;
  /** The last checkpoint, relative to the run folder. */
  checkpoint: string;
  /** The last line of the log. */
  metrics: Record<string, number>;
  badSamples: number;
  skippedUpdates: number;
}

/**
 * Trains a model until a stop rule, a signal or an error ends the run, in a folder that holds all of it: `config.yaml`,
 * `metrics.jsonl`, `curves.html`, TensorBoard events, `checkpoints/`. A run that was interrupted at any instant and
 * resumed computes the same numbers, bit for bit on the same device, as one that was not.
 *
 * @throws D2vError with one line and the remedy; the folder's last good checkpoint is untouched
 */
export async function train(options: TrainOptions): Promise<TrainResult> {
  const { config, runDir, on = () => {} } = options;
  const folder = await RunFolder.open(runDir, {
    resume: options.resume ?? false,
    keep: config.checkpoint.keep_interval_updates,
  });
  const stopSignal = new StopSignal({
    handleSignals: options.handleSignals,
    signal: options.signal,
    onRequest: (cause) => {
      const hint = cause === 'abort' ? '' : '; again: stop at once without saving';
      on({ type: 'warning', message: `${cause}: finishing the update and saving${hint}` });
    },
  });
  try {
    return await new Run(options, folder, stopSignal, on).execute();
  } catch (error) {
    const last = await folder.store.resolve('last').catch(() => null);
    throw await explainWriteError(
      error,
      'the run',
      runDir,
      last === null ? undefined : `checkpoint ${last} is untouched`,
    );
  } finally {
    stopSignal.dispose();
    await folder.close();
  }
}

/** Puts the parts of a run together and takes them down again. */
class Run {
  private readonly cleanups: (() => Promise<void> | void)[] = [];

  constructor(
    private readonly options: TrainOptions,
    private readonly folder: RunFolder,
    private readonly stopSignal: StopSignal,
    private readonly emit: TrainerListener,
  ) {}

  async execute(): Promise<TrainResult> {
    try {
      return await this.build();
    } finally {
      for (const cleanup of this.cleanups.reverse()) await cleanup();
    }
  }

  private async build(): Promise<TrainResult> {
    const { options, folder, emit, stopSignal } = this;
    const { config, modality, runDir } = options;
    const device = resolveDevice(config.common.device);
    const machine = setUpMachine(config, device);
    const schedule = createSchedule(
      config.lr_scheduler,
      config.optimization.lr,
      config.optimization.max_update,
    );
    const data = new RunData({
      config,
      modality,
      openSource: options.openSource,
      offline: options.offline,
      log: (message) => emit({ type: 'warning', message }),
    });
    this.cleanups.push(() => data.close());
    const source = await data.source('train');
    const model = createModel(config, modality, device);
    this.cleanups.push(() => model.dispose());
    const optimizer = createOptimizer(config, model);
    const state = await this.restore(model, optimizer, machine);
    const best = new BestTracker(config, state?.best);
    await writeRunConfig(runDir, modality, config);

    const sampler = new EpochSampler({
      length: source.length,
      seed: config.common.seed,
      updateSize: samplesPerUpdate(config),
      dropLast: config.data.drop_last,
      start: state?.position,
    });
    const position = sampler.position;
    const jobs = trainingJobs(sampler, config.data.batch_size);
    const loader = data.loader('train', source, jobs);
    this.cleanups.push(() => loader.close());
    const feed = new UpdateFeed(loader, config.optimization.update_freq);
    const memory = checkRunMemory(config, model, await feed.peek());
    await checkDiskSpace(model, runDir);
    emit({
      type: 'start',
      runDir,
      resumedFrom: folder.resumeFrom,
      maxUpdate: config.optimization.max_update,
      parameters: parameterCount(model),
      effectiveBatch: describeEffectiveBatch(config, sampler.epochSize),
      memory,
      samplesPerEpoch: sampler.epochSize,
    });
    const log = await RunLog.open(folder, config.common.tensorboard, emit);
    this.cleanups.push(() => log.close());
    const update = state?.update ?? 0;
    const bad = await BadSamples.open({
      runDir,
      maxShare: config.data.max_bad_share,
      length: source.length,
      root: config.data.path,
      state: state?.badSamples,
    });
    const nonFinite = new NonFiniteGuard(config.stop.max_nonfinite, state?.nonFinite);
    const clock = new RunClock(state?.seconds ?? 0, update, {
      maxUpdate: config.optimization.max_update,
      maxSeconds: config.stop.max_seconds,
    });
    const trainer = new Trainer(
      {
        config,
        model,
        optimizer,
        schedule,
        feed,
        epochSize: sampler.epochSize,
        folder,
        log,
        meters: new Meters(state?.meters),
        rules: new StopRules(config.stop, config.optimization.max_update, state?.stop),
        nonFinite,
        bad,
        best,
        evaluator: await this.evaluator(model, data),
        clock,
        stopSignal,
        machine,
        emit,
      },
      { update, samples: state?.samples ?? 0, position: state?.position ?? position },
    );
    const { stop, checkpoint, ...end } = await trainer.run();
    emit({ type: 'stop', reason: stop.reason, message: stop.message, update: end.update });
    return {
      ...stop,
      update: end.update,
      samples: end.samples,
      seconds: clock.seconds,
      runDir,
      checkpoint: `checkpoints/${checkpoint}`,
      metrics: end.metrics,
      badSamples: bad.count,
      skippedUpdates: nonFinite.skipped,
    };
  }

  /** Loads the checkpoint to resume from, if any, and warns about what has changed since. */
  private async restore(
    model: Data2Vec,
    optimizer: Adam,
    machine: TrainerState['machine'],
  ): Promise<TrainerState | null> {
    const { folder, options } = this;
    if (folder.resumeFrom === null) return null;
    const path = folder.store.path(folder.resumeFrom);
    const state = await readCheckpoint(path, model, optimizer);
    const before = readModelFile(join(path, MODEL_FILE), (file) =>
      JSON.parse(file.metadata.get('config') ?? '{}'),
    );
    const warnings = resumeWarnings(
      { config: before, machine: state.machine },
      { config: options.config, machine },
    );
    for (const message of warnings) this.emit({ type: 'warning', message });
    return state;
  }

  private async evaluator(model: Data2Vec, data: RunData): Promise<Evaluator | null> {
    const { config } = this.options;
    if (config.eval.interval_updates === null) return null;
    const part = async (split: DataSplit) => {
      const source = await data.source(split);
      return { source, load: (jobs: Parameters<RunData['loader']>[2]) => data.loader(split, source, jobs) };
    };
    return new Evaluator({ model, config, train: await part('train'), valid: await part('valid') });
  }
}
