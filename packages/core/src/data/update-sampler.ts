import { D2vError } from '../errors.js';
import type { DataConfig } from '../modality/contract.js';
import { boundsOf } from './batches.js';
import { LengthSampler } from './length-sampler.js';
import { EpochSampler, type RankShare, type SamplePosition, type Slot } from './sampler.js';
import { checkShards, shardOrder } from './shard-order.js';

/** Samples to be loaded together. */
export interface SampledBatch {
  /** Empty only with several ranks, where an update has too few samples for all of them: this one then adds nothing to it. */
  slots: Slot[];
  /** Samples that may stand in for a damaged one; without it, any. */
  substitutes?: number[];
}

/** What an epoch is made of, on all ranks together. */
export interface EpochContents {
  samples: number;
  updates: number;
  /** Only where batches are made by length, in the modality's unit. */
  length?: number;
  /** `length` with the padding. */
  padded?: number;
}

/** The training samples of a run, or of one of its ranks, update by update, without end. */
export interface UpdateSampler {
  /** This rank's batches of the coming update: as many as on every other rank, more than one if gradients are accumulated. */
  nextUpdate(): SampledBatch[];
  /** Between updates: where to continue from. */
  readonly position: SamplePosition;
  /** Whether it had to begin elsewhere than it was told: it is then no exact continuation. */
  readonly moved: boolean;
  contents(): EpochContents;
}

export interface UpdateSamplerOptions {
  data: DataConfig;
  updateFreq: number;
  seed: number;
  /** Samples in the dataset. */
  samples: number;
  /** See `lengthsOf`; needed for `data.batch_length`. */
  lengths: Float64Array | null;
  /** See `DataSource.shards`; needed for `data.shuffle: shards`. */
  shards?: ArrayLike<number> | null;
  start?: SamplePosition;
  /** This process among those that train together, each of which takes batches of that size. Default: alone. */
  share?: RankShare;
}

/** Batches by length if `data.batch_length` is set, else of `data.batch_size` samples. */
export function createUpdateSampler(options: UpdateSamplerOptions): UpdateSampler {
  const { data, updateFreq, seed, samples, lengths, start, share } = options;
  const bounds = boundsOf(data);
  const order = shardsInOrder(options);
  if (bounds.length !== null) {
    if (!lengths) {
      throw new D2vError(
        'data.batch_length needs data that tells the lengths of its samples, and this does not: set data.batch_size, and data.batch_length to null',
      );
    }
    return new LengthSampler({ lengths, seed, bounds, updateFreq, dropLast: data.drop_last, start, share });
  }
  if (bounds.samples === null) throw new D2vError('set data.batch_size or data.batch_length');
  return new CountSampler(bounds.samples, updateFreq, {
    length: samples,
    seed,
    updateSize: bounds.samples * updateFreq,
    dropLast: data.drop_last,
    start,
    share,
    order,
  });
}

/** The order that `data.shuffle: shards` asks for; undefined: that of the sampler. */
function shardsInOrder({ data, seed, samples, shards }: UpdateSamplerOptions) {
  if (data.shuffle !== 'shards') return undefined;
  if (!shards) {
    throw new D2vError(
      'data.shuffle: shards needs tar shards (a folder, a range, or a prepared dataset); this data has none: set it to samples',
    );
  }
  if (boundsOf(data).length !== null) {
    throw new D2vError(
      'data.shuffle: shards goes with data.batch_size; batches by length draw from all samples: set data.batch_length to null, or data.shuffle to samples',
    );
  }
  checkShards(shards, samples, 'data.shuffle');
  return (epoch: number) => shardOrder(shards, samples, data.shuffle_shards, seed, epoch);
}

/** Batches of one number of samples, whatever their lengths. */
class CountSampler implements UpdateSampler {
  readonly moved = false;
  private readonly sampler: EpochSampler;

  constructor(
    private readonly batchSize: number,
    private readonly updateFreq: number,
    private readonly options: ConstructorParameters<typeof EpochSampler>[0],
  ) {
    this.sampler = new EpochSampler(options);
  }

  get position(): SamplePosition {
    return this.sampler.position;
  }

  contents(): EpochContents {
    const { epochSize } = this.sampler;
    const { updateSize, share } = this.options;
    return { samples: epochSize, updates: epochSize / (updateSize * (share?.worldSize ?? 1)) };
  }

  nextUpdate(): SampledBatch[] {
    return Array.from({ length: this.updateFreq }, () => ({ slots: this.sampler.next(this.batchSize) }));
  }
}
