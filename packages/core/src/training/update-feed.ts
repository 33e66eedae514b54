import type { BatchJob, LoadedBatch } from '../data/load-batch.js';
import type { DataLoader } from '../data/loader.js';
import type { EpochSampler, SamplePosition } from '../data/sampler.js';
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
export function* trainingJobs(sampler: EpochSampler, batchSize: number): Generator<BatchJob> {
  for (;;) {
    const slots = sampler.next(batchSize);
    yield { slots, mode: 'train', substitute: true, after: sampler.position };
  }
}

/** Puts loaded batches together into updates; the first can be looked at before it is used. */
export class UpdateFeed {
  private peeked: LoadedBatch | null = null;

  constructor(
    private readonly loader: DataLoader,
    private readonly batchesPerUpdate: number,
  ) {}

  /** The first batch of the coming update; `next` still gives it. */
  async peek(): Promise<Batch> {
    this.peeked ??= await this.load();
    return this.peeked.batch!;
  }

  async next(): Promise<UpdateData> {
    const loaded: LoadedBatch[] = [];
    while (loaded.length < this.batchesPerUpdate) {
      loaded.push(this.peeked ?? (await this.load()));
      this.peeked = null;
    }
    const batches = loaded.map(({ batch }) => batch!);
    return {
      batches,
      bad: loaded.flatMap(({ bad }) => bad),
      samples: batches.reduce((sum, batch) => sum + batch.size, 0),
      position: loaded.at(-1)!.after!,
    };
  }

  /** Seconds spent waiting for data since the last call. */
  takeWaited(): number {
    const { waited } = this.loader;
    this.loader.waited = 0;
    return waited;
  }

  private async load(): Promise<LoadedBatch> {
    const loaded = await this.loader.next();
    if (!loaded?.batch) throw new Error('training jobs are endless and substitute damaged samples');
    return loaded;
  }
}
