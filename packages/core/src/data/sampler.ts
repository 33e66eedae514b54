import { D2vError } from '../errors.js';
import { orderStream } from './streams.js';

/** A place in the endless sequence of shuffled epochs: `offset` samples of `epoch` were taken. */
export interface SamplePosition {
  epoch: number;
  offset: number;
}

/** One sample to load: which, and the place it has in the sequence (its augmentation follows from that). */
export interface Slot {
  index: number;
  epoch: number;
  offset: number;
}

export interface SamplerOptions {
  /** Samples in the dataset. */
  length: number;
  seed: number;
  /** Samples of one update (batch_size * update_freq): the unit that `dropLast` keeps whole. */
  updateSize: number;
  /** Leave out the rest of an epoch that does not fill an update; otherwise the update goes on with the next epoch. */
  dropLast?: boolean;
  /** Where to continue. */
  start?: SamplePosition;
}

/**
 * Gives the training samples in order: epoch after epoch, each a permutation drawn from (seed, epoch). Every batch is
 * full. The sequence does not depend on how it is cut into batches, so gradient accumulation sees the samples of the
 * big batch, and a run can be resumed at any sample.
 */
export class EpochSampler {
  private readonly usable: number;
  private epoch: number;
  private offset: number;
  private order: Int32Array | undefined;

  constructor(private readonly options: SamplerOptions) {
    const { length, updateSize, dropLast = false, start } = options;
    if (length < 1) throw new D2vError('the dataset has no samples');
    if (dropLast && length < updateSize) {
      throw new D2vError(
        `the dataset has ${length} samples, fewer than one update takes (${updateSize}): lower data.batch_size or set data.drop_last to false`,
      );
    }
    this.usable = dropLast ? length - (length % updateSize) : length;
    this.epoch = start?.epoch ?? 0;
    this.offset = start?.offset ?? 0;
  }

  /** Samples that one epoch gives. */
  get epochSize(): number {
    return this.usable;
  }

  get position(): SamplePosition {
    return { epoch: this.epoch, offset: this.offset };
  }

  /** The next `count` samples. */
  next(count: number): Slot[] {
    return Array.from({ length: count }, () => {
      if (this.offset >= this.usable) {
        this.epoch++;
        this.offset = 0;
        this.order = undefined;
      }
      this.order ??= permutation(this.options.length, this.options.seed, this.epoch);
      const slot = { index: this.order[this.offset]!, epoch: this.epoch, offset: this.offset };
      this.offset++;
      return slot;
    });
  }
}

/** The order of an epoch: the numbers 0..length-1 shuffled by (seed, epoch). */
export function permutation(length: number, seed: number, epoch: number): Int32Array {
  return orderStream(seed, epoch).permutation(length);
}
