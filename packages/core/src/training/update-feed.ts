import {
  type BadSample,
  type BatchJob,
  type LoadedBatch,
  MAX_SUBSTITUTES,
  tooManyDamaged,
} from '../data/load-batch.js';
import type { DataLoader } from '../data/loader.js';
import type { SamplePosition } from '../data/sampler.js';
import type { UpdateSampler } from '../data/update-sampler.js';
import type { Batch } from '../modality/contract.js';

/** The batches of one update. */
export interface UpdateData {
  batches: Batch[];
  bad: LoadedBatch['bad'];
  samples: number;
  /** Where the order of samples stands after this update. */
  position: SamplePosition;
}

/** The endless training jobs that follow from a sampler. */
export function* trainingJobs(sampler: UpdateSampler): Generator<BatchJob> {
  for (;;) {
    const batches = sampler.nextUpdate();
    for (const [i, batch] of batches.entries()) {
      const after = i === batches.length - 1 ? sampler.position : undefined;
      yield { ...batch, mode: 'train', substitute: true, after };
    }
  }
}

/** Puts loaded batches together into updates; the first can be looked at before it is used. */
export class UpdateFeed {
  private peeked: LoadedBatch | null = null;

  constructor(private readonly loader: DataLoader) {}

  /** The first batch of the coming update; `next` still gives it. */
  async peek(): Promise<Batch> {
    this.peeked ??= await this.load();
    const { batch, bad } = this.peeked;
    if (!batch) throw tooManyDamaged(bad);
    return batch;
  }

  /** The coming update; one whose samples are all damaged is passed over. */
  async next(): Promise<UpdateData> {
    const batches: Batch[] = [];
    const bad: BadSample[] = [];
    for (;;) {
      const loaded = this.peeked ?? (await this.load());
      this.peeked = null;
      if (loaded.batch) batches.push(loaded.batch);
      bad.push(...loaded.bad);
      if (batches.length === 0 && bad.length >= MAX_SUBSTITUTES) throw tooManyDamaged(bad);
      if (!loaded.after || batches.length === 0) continue;
      const samples = batches.reduce((sum, batch) => sum + batch.size, 0);
      return { batches, bad, samples, position: loaded.after };
    }
  }

  /** Seconds spent waiting for data since the last call. */
  takeWaited(): number {
    const { waited } = this.loader;
    this.loader.waited = 0;
    return waited;
  }

  /** Ends the loading. */
  async close(): Promise<void> {
    await this.loader.close();
  }

  private async load(): Promise<LoadedBatch> {
    const loaded = await this.loader.next();
    if (!loaded) throw new Error('training jobs are endless');
    return loaded;
  }
}
