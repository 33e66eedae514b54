import type { BatchSource } from '../data/load-batch.js';
import { loadBatch, MAX_SUBSTITUTES, tooManyDamaged } from '../data/load-batch.js';
import type { Batch } from '../modality/contract.js';

/** Samples that `measureNeed` runs. */
const PROBED = 2;

/** A batch to measure memory on. */
export interface MemoryProbe {
  batch: Batch;
  /** Length of its longest sample, which is that of the whole data. */
  longest: number;
}

/**
 * Loads the longest samples of the data: what a run needs is decided by them, whenever it meets them.
 * @throws D2vError when they, and the next longest, are damaged
 */
export async function loadLongest(from: BatchSource, lengths: Float64Array): Promise<MemoryProbe> {
  const order = Int32Array.from(lengths.keys()).sort((a, b) => lengths[b]! - lengths[a]!);
  const [slots, substitutes] = [order.subarray(0, PROBED), order.subarray(PROBED, PROBED + MAX_SUBSTITUTES)];
  const { batch, bad } = await loadBatch(
    {
      slots: Array.from(slots, (index, offset) => ({ index, epoch: 0, offset })),
      mode: 'train',
      substitute: true,
      substitutes: [...substitutes],
    },
    from,
  );
  if (!batch) throw tooManyDamaged(bad);
  return { batch, longest: lengths[order[0]!]! };
}
