import { type AnyConfig, dataKey, isJoint } from '../config/joint.js';
import type { RunConfig } from '../config/schema.js';
import { lengthsOf } from '../data/lengths.js';
import type { SamplePosition } from '../data/sampler.js';
import { createUpdateSampler, type EpochContents } from '../data/update-sampler.js';
import type { Batch, Modality } from '../modality/contract.js';
import { BAD_SAMPLES_FILE, BadSamples } from './bad-samples.js';
import type { TrainerListener } from './events.js';
import { loadLongest } from './memory-probe.js';
import type { RunData } from './run-data.js';
import type { PartState } from './trainer-state.js';
import { trainingJobs, type UpdateData, UpdateFeed } from './update-feed.js';

export interface RunPartOptions {
  config: AnyConfig;
  runDir: string;
  /** Its training part is open. */
  data: RunData;
  /** Of the checkpoint to go on from. */
  state?: PartState;
  emit: TrainerListener;
}

const START: SamplePosition = { epoch: 0, offset: 0 };

/** One modality's part of a run: the order of its samples, their loading, and what is damaged among them. */
export class RunPart {
  private constructor(
    readonly modality: Modality,
    /** The run's config as this modality sees it. */
    readonly view: RunConfig,
    readonly data: RunData,
    readonly bad: BadSamples,
    /** What an epoch of this modality is made of. */
    readonly epoch: EpochContents,
    private readonly feed: UpdateFeed,
    private position: SamplePosition,
    private readonly emit: TrainerListener,
  ) {}

  static async open({ config, runDir, data, state, emit }: RunPartOptions): Promise<RunPart> {
    const { view, modality } = data;
    const source = await data.source('train');
    const sampler = createUpdateSampler({
      data: view.data,
      updateFreq: view.optimization.update_freq,
      seed: view.common.seed,
      samples: source.length,
      lengths: lengthsOf(source),
      shards: source.shards?.(),
      start: state?.position,
    });
    if (sampler.moved) {
      const message = `the lengths of the ${isJoint(config) ? `${modality.name} ` : ''}samples, or how many make an update, have changed since the checkpoint: the run goes on with other batches`;
      emit({ type: 'warning', message });
    }
    const bad = await BadSamples.open({
      runDir,
      file: isJoint(config) ? BAD_SAMPLES_FILE.replace('.', `-${modality.name}.`) : BAD_SAMPLES_FILE,
      maxShare: view.data.max_bad_share,
      key: dataKey(config, modality.name, 'max_bad_share'),
      length: source.length,
      root: view.data.path,
      state: state?.badSamples,
    });
    const feed = new UpdateFeed(data.loader('train', source, trainingJobs(sampler)));
    const epoch = sampler.contents();
    return new RunPart(modality, view, data, bad, epoch, feed, state?.position ?? START, emit);
  }

  get name(): string {
    return this.modality.name;
  }

  /** Epochs so far, with the share of the current one. */
  get epochs(): number {
    return this.position.epoch + this.position.offset / this.epoch.samples;
  }

  /** Batches to measure memory on: the longest samples, where there are longer and shorter ones. */
  async probe(): Promise<{ batch: Batch; longest: number | null }> {
    const source = await this.data.source('train');
    const lengths = lengthsOf(source);
    if (lengths) return loadLongest(this.data.local(source), lengths);
    return { batch: await this.feed.peek(), longest: null };
  }

  /** The data of this modality's next update. @throws D2vError when too much of it is damaged */
  async next(): Promise<UpdateData> {
    const data = await this.feed.next();
    for (const { file, reason } of this.bad.record(data.samples, data.bad)) {
      this.emit({ type: 'warning', message: `skipped a damaged sample, ${file}: ${reason}` });
    }
    this.position = data.position;
    return data;
  }

  /** Seconds spent waiting for data since the last call. */
  takeWaited(): number {
    return this.feed.takeWaited();
  }

  state(): PartState {
    return { position: this.position, badSamples: this.bad.state() };
  }

  async close(): Promise<void> {
    await this.feed.close();
  }
}
