import { type BatchBounds, cutBatches, partsOf } from '../data/batches.js';
import { lengthsOf } from '../data/lengths.js';
import type { BatchJob } from '../data/load-batch.js';
import type { Pool } from '../data2vec/features.js';
import type { Data2Vec } from '../data2vec/model.js';
import type { Batch, DataSource } from '../modality/contract.js';

/** Which features of a sample are meant. */
export interface FeatureChoice {
  /**
   * Output of this block, 1 to `Data2Vec.layerCount`, the modality's own (prenet) blocks first; 0 is what goes into the
   * first; default: the network's output.
   */
  layer?: number | null;
  /** Mean over tokens (default), means over parts of the grid, the extra (class) token, or every token. */
  pool?: Pool;
  /** Default: teacher (of a loaded model: the student's if there is no teacher). */
  network?: 'student' | 'teacher';
}

/** Features of a batch: `data` is [B, D], or [B, T, D] for every token. */
export interface BatchFeatures {
  data: Float32Array;
  shape: number[];
  /** u8 [B, T], 1 = the token is padding; null if there is none. For `pool` none. */
  padding: Uint8Array | null;
}

/** Runs a batch through the frozen network. Features of a sample do not depend on what it shares the batch with. */
export function batchFeatures(
  model: Data2Vec,
  modality: string,
  batch: Batch,
  { layer, pool = 'mean', network = 'teacher' }: FeatureChoice,
): BatchFeatures {
  const features = model.extractFeatures(batch, {
    modality,
    network,
    layer: layer ?? 'last',
    extraTokens: pool === 'cls',
  });
  try {
    return { ...model.poolFeatures(features, pool)[0]!, padding: features.padding };
  } finally {
    for (const raw of features.layers) raw.dispose();
  }
}

/** Jobs that read all samples once, in order, without augmentation; damaged ones are left out. */
export function* evaluationJobs(source: DataSource, bounds: BatchBounds): Generator<BatchJob> {
  const order = Int32Array.from({ length: source.length }, (_, i) => i);
  for (const part of partsOf(order, cutBatches(order, bounds, lengthsOf(source)))) {
    const slots = Array.from(part, (index) => ({ index, epoch: 0, offset: index }));
    yield { slots, mode: 'eval', substitute: false };
  }
}
