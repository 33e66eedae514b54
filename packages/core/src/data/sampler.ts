import { D2vError } from '../errors.js';
import { orderStream } from './streams.js';

/**
 * A place in the endless sequence of shuffled epochs: `offset` samples of `epoch` were taken, by all ranks together. It is the
 * same on every rank.
 */
export interface SamplePosition {
  epoch: number;
  offset: number;
  /** Of batches by length: how the epoch's updates were cut. Unknown in positions of older checkpoints. */
  cut?: { worldSize: number; updateFreq: number };
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
  /** Samples of one rank's part of an update (batch_size * update_freq); `dropLast` keeps updates of all ranks whole. */
  updateSize: number;
  /** Leave out the rest of an epoch that does not fill an update; otherwise the update goes on with the next epoch. */
  dropLast?: boolean;
  /** Where to continue; with `dropLast` between updates, also those of another size. */
  start?: SamplePosition;
  share?: RankShare;
  /** The samples of an epoch in their order, each once. Default: `permutation`. */
  order?: (epoch: number) => Int32Array;
}

/** Which of the processes that train together this is. Every one draws the same order and takes its share of it. */
export interface RankShare {
  /** From 0. */
  rank: number;
  worldSize: number;
}

/** A process that trains alone. */
const ALONE: RankShare = { rank: 0, worldSize: 1 };

/** @throws D2vError unless 0 <= rank < worldSize, both whole */
export function checkShare(share: RankShare = ALONE): RankShare {
  const { rank, worldSize } = share;
  if (!Number.isInteger(worldSize) || worldSize < 1)
    throw new D2vError(`worldSize must be a whole number from 1, not ${worldSize}`);
  if (!Number.isInteger(rank) || rank < 0 || rank >= worldSize)
    throw new D2vError(`rank must be a whole number from 0 to ${worldSize - 1} (worldSize - 1), not ${rank}`);
  return share;
}

/**
 * Gives the training samples in order: epoch after epoch, each a permutation drawn from (seed, epoch). Every batch is
 * full. The sequence does not depend on how it is cut into batches, so gradient accumulation sees the samples of the
 * big batch, and a run can be resumed at any sample (with `dropLast`: at any update).
 *
 * Ranks take turns, sample by sample: together they have the samples that one process would take, and a run can be
 * resumed with another number of ranks.
 */
export class EpochSampler {
  private readonly usable: number;
  /** Where the current epoch ends: before `usable` or behind it where it goes on from updates of another size. */
  private end: number;
  private readonly share: RankShare;
  private epoch: number;
  private offset: number;
  private order: { epoch: number; indices: Int32Array } | undefined;

  constructor(private readonly options: SamplerOptions) {
    const { length, dropLast = false, start } = options;
    this.share = checkShare(options.share);
    const { worldSize } = this.share;
    const updateSize = options.updateSize * worldSize;
    if (length < 1) throw new D2vError('the dataset has no samples');
    if (dropLast && length < updateSize) {
      const ranks = worldSize > 1 ? ` on ${worldSize} ranks` : '';
      throw new D2vError(
        `the dataset has ${length} samples, fewer than one update takes (${updateSize}${ranks}): lower data.batch_size or set data.drop_last to false`,
      );
    }
    this.epoch = start?.epoch ?? 0;
    this.offset = start?.offset ?? 0;
    const endFrom = (offset: number) => (dropLast ? length - ((length - offset) % updateSize) : length);
    this.usable = endFrom(0);
    this.end = endFrom(Math.min(this.offset, length));
  }

  /** Samples that one epoch gives, on all ranks together. */
  get epochSize(): number {
    return this.usable;
  }

  get position(): SamplePosition {
    return { epoch: this.epoch, offset: this.offset };
  }

  /** The next `count` samples of this rank. */
  next(count: number): Slot[] {
    const { rank, worldSize } = this.share;
    return Array.from({ length: count }, () => {
      this.pass(rank);
      const slot = this.draw();
      this.pass(worldSize - 1 - rank);
      return slot;
    });
  }

  private draw(): Slot {
    this.pass(1);
    if (this.order?.epoch !== this.epoch) {
      const { length, seed, order = (epoch) => permutation(length, seed, epoch) } = this.options;
      this.order = { epoch: this.epoch, indices: order(this.epoch) };
    }
    const offset = this.offset - 1;
    return { index: this.order.indices[offset]!, epoch: this.epoch, offset };
  }

  /** Goes on by so many samples, over the ends of epochs. */
  private pass(count: number): void {
    for (let left = count; left > 0; ) {
      if (this.offset >= this.end) {
        this.epoch++;
        this.offset = 0;
        this.end = this.usable;
      }
      const taken = Math.min(left, this.end - this.offset);
      this.offset += taken;
      left -= taken;
    }
  }
}

/** The order of an epoch: the numbers 0..length-1 shuffled by (seed, epoch). */
export function permutation(length: number, seed: number, epoch: number): Int32Array {
  return orderStream(seed, epoch).permutation(length);
}
