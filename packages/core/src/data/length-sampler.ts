import { D2vError } from '../errors.js';
import type { Philox } from '../random.js';
import { type BatchBounds, cutBatches, fits, partsOf } from './batches.js';
import { checkShare, type RankShare, type SamplePosition } from './sampler.js';
import { orderStream } from './streams.js';
import type { EpochContents, SampledBatch, UpdateSampler } from './update-sampler.js';

export interface LengthSamplerOptions {
  /** Of every sample, see `lengthsOf`. */
  lengths: Float64Array;
  seed: number;
  /** Of one batch; an update may be `updateFreq` times as large on each rank. */
  bounds: BatchBounds;
  updateFreq: number;
  /** Leave out the last update of an epoch if more samples would fit into it; otherwise it is a small one. */
  dropLast?: boolean;
  start?: SamplePosition;
  share?: RankShare;
}

/** Samples of one bucket differ in length by at most this factor: the bound of what padding can cost. */
const BUCKET_RATIO = 1.1;
/** How far around a batch, in the order by length, substitutes for its damaged samples are looked for. */
const NEIGHBOURS = 32;

/** The order of an epoch and how it is cut. */
interface Epoch {
  /** All samples, bucket by bucket. */
  order: Int32Array;
  /** Where each update begins in `order`; one number more than there are updates. */
  edges: number[];
  /** The updates in the order of their turn. */
  turns: Int32Array;
}

/**
 * Gives the training samples in batches of similar length. Each epoch draws a new order from (seed, epoch): samples are
 * shuffled, sorted into buckets of lengths, and cut into updates as large as the bounds allow; the updates then come in
 * random order, and each is cut into batches. So accumulation sees the samples of the big batch, and a run can be resumed
 * at any update. Every sample comes once an epoch.
 *
 * Ranks draw the same updates, as large as all of them take together, and deal out the batches of each.
 */
export class LengthSampler implements UpdateSampler {
  /** Whether the position to continue from is no edge between these updates: the data or the bounds have changed since. */
  readonly moved: boolean;
  private readonly share: RankShare;
  private readonly updateBounds: BatchBounds;
  private epoch: number;
  private current: Epoch;
  /** Updates of the epoch that were given. */
  private turn = 0;
  /** Samples of the epoch that were given. */
  private offset = 0;

  constructor(private readonly options: LengthSamplerOptions) {
    const { lengths, bounds, updateFreq, start = { epoch: 0, offset: 0 } } = options;
    if (lengths.length < 1) throw new D2vError('the dataset has no samples');
    this.share = checkShare(options.share);
    const batches = updateFreq * this.share.worldSize;
    const times = (bound: number | null) => (bound === null ? null : bound * batches);
    this.updateBounds = { samples: times(bounds.samples), length: times(bounds.length) };
    this.epoch = start.epoch;
    this.current = this.makeEpoch(start.epoch);
    while (this.offset < start.offset && this.turn < this.current.turns.length) this.skip();
    const over = this.offset === lengths.length;
    const otherCut = start.offset > 0 && !over && this.isOtherCut(start.cut);
    this.moved = otherCut || this.offset !== start.offset;
  }

  get position(): SamplePosition {
    const { worldSize } = this.share;
    return {
      epoch: this.epoch,
      offset: this.offset,
      cut: { worldSize, updateFreq: this.options.updateFreq },
    };
  }

  /** Of the first epoch; others differ a little in how they are cut. */
  contents(): EpochContents {
    const { lengths } = this.options;
    const { order, edges, turns } = this.epoch === 0 ? this.current : this.makeEpoch(0);
    const sum = { samples: 0, updates: turns.length, length: 0, padded: 0 };
    for (const update of turns) {
      for (const batch of this.dealt(order.subarray(edges[update], edges[update + 1]))) {
        let longest = 0;
        for (const index of batch) {
          longest = Math.max(longest, lengths[index]!);
          sum.length += lengths[index]!;
        }
        sum.samples += batch.length;
        sum.padded += longest * batch.length;
      }
    }
    return sum;
  }

  nextUpdate(): SampledBatch[] {
    if (this.turn >= this.current.turns.length) {
      this.epoch++;
      this.turn = 0;
      this.offset = 0;
      this.current = this.makeEpoch(this.epoch);
    }
    const { order, edges, turns } = this.current;
    const update = turns[this.turn]!;
    const { rank, worldSize } = this.share;
    let start = edges[update]!;
    const batches: SampledBatch[] = [];
    for (const [i, members] of this.dealt(order.subarray(start, edges[update + 1])).entries()) {
      if (i % worldSize === rank) {
        const slots = Array.from(members, (index, at) => ({
          index,
          epoch: this.epoch,
          offset: this.offset + at,
        }));
        batches.push({ slots, substitutes: this.substitutes(start, members) });
      }
      this.offset += members.length;
      start += members.length;
    }
    this.turn++;
    return batches;
  }

  /**
   * Whether the updates of the epoch that was begun were cut otherwise.
   * @throws D2vError if that is because of another number of ranks: some samples would come twice, others never
   */
  private isOtherCut(cut: SamplePosition['cut']): boolean {
    const { updateFreq } = this.options;
    const { worldSize } = this.share;
    const before = cut ?? { worldSize: 1, updateFreq };
    if (before.worldSize * before.updateFreq === worldSize * updateFreq) return false;
    if (before.worldSize === worldSize) return true;
    throw new D2vError(
      `the epoch was begun on ${before.worldSize} ranks with optimization.update_freq ${before.updateFreq}: with batches by length (data.batch_length) it goes on only where ranks times update_freq are ${before.worldSize * before.updateFreq} again, not ${worldSize} times ${updateFreq}`,
    );
  }

  private skip(): void {
    const { edges, turns } = this.current;
    const update = turns[this.turn++]!;
    this.offset += edges[update + 1]! - edges[update]!;
  }

  /** The batches of an update, for the ranks in turn: as many for each; some are empty where the samples are too few. */
  private dealt(update: Int32Array): Int32Array[] {
    const { bounds, lengths } = this.options;
    const { worldSize } = this.share;
    const batches = [...partsOf(update, cutBatches(update, bounds, lengths))];
    while (batches.length % worldSize !== 0) {
      const largest = batches.reduce((most, { length }, i) => (length > batches[most]!.length ? i : most), 0);
      const batch = batches[largest]!;
      const half = Math.ceil(batch.length / 2);
      if (batch.length < 2) batches.push(update.subarray(update.length));
      else batches.splice(largest, 1, batch.subarray(0, half), batch.subarray(half));
    }
    return batches;
  }

  /** Samples of about the same length that can stand in for one of a batch without making it larger than it may be. */
  private substitutes(start: number, members: Int32Array): number[] {
    const { lengths, bounds } = this.options;
    const { order } = this.current;
    const longest = members.reduce((most, index) => Math.max(most, lengths[index]!), 0);
    const end = start + members.length;
    const around = [
      ...order.subarray(Math.max(0, start - NEIGHBOURS), start),
      ...order.subarray(end, end + NEIGHBOURS),
    ];
    return around.filter((index) => {
      const length = lengths[index]!;
      if (length <= longest) return true;
      // Alone, a sample may be longer than the bound, but a substitute is not to be.
      return length <= (bounds.length ?? Infinity) && fits(members.length, length, bounds);
    });
  }

  private makeEpoch(epoch: number): Epoch {
    const { lengths, seed, dropLast = false } = this.options;
    const random = orderStream(seed, epoch);
    const order = orderByLength(lengths, random);
    const edges = [0, ...cutBatches(order, this.updateBounds, lengths)];
    let updates = edges.length - 1;
    if (dropLast && this.hasRoom(order.subarray(edges[updates - 1], edges[updates]))) updates--;
    if (updates === 0) {
      throw new D2vError(
        `the dataset (${lengths.length} samples) does not fill one update: lower data.batch_length or set data.drop_last to false`,
      );
    }
    return { order, edges, turns: random.fork('updates').permutation(updates) };
  }

  /** Whether one more sample as long as its longest would fit into an update. */
  private hasRoom(update: Int32Array): boolean {
    const { lengths } = this.options;
    const longest = update.reduce((most, index) => Math.max(most, lengths[index]!), 0);
    return fits(update.length + 1, longest, this.updateBounds);
  }
}

/**
 * Shuffles samples and sorts them into buckets of lengths, short or long ones first. Where buckets begin differs from
 * epoch to epoch, so that a sample meets others each time.
 */
export function orderByLength(lengths: Float64Array, random: Philox): Int32Array {
  const shuffled = random.permutation(lengths.length);
  const choice = random.fork('buckets');
  const shift = choice.uniform();
  const sign = choice.chance(0.5) ? 1 : -1;
  const bucketOf = (length: number) => sign * Math.floor(Math.log(length) / Math.log(BUCKET_RATIO) + shift);
  const buckets = new Map<number, number[]>();
  for (const index of shuffled) {
    const bucket = bucketOf(lengths[index]!);
    const members = buckets.get(bucket);
    if (members) members.push(index);
    else buckets.set(bucket, [index]);
  }
  const sorted = [...buckets].sort(([a], [b]) => a - b);
  let at = 0;
  for (const [, members] of sorted) {
    shuffled.set(members, at);
    at += members.length;
  }
  return shuffled;
}
