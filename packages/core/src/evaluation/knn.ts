/**
 * k nearest neighbours on frozen features, the protocol usual for self-supervised networks: cosine similarity, each of
 * the k nearest training samples votes for its class with weight exp(similarity / temperature).
 */
import * as raw from '@d2v/cuda-kernels';
import { type Accuracy, checkFeatures, classCount, type FeatureMatrix, hits } from './features.js';

export interface KnnOptions {
  /** Neighbours that vote (default 20). */
  k?: number;
  /** Default 0.07. */
  temperature?: number;
  device?: string;
}

/** Most similarities held at a time. */
const BLOCK_ELEMENTS = 1 << 23;

/**
 * Scores `test` against `train`.
 * @returns shares of test samples
 * @throws D2vError if shapes and labels contradict each other or features are not finite
 */
export function knn(
  train: FeatureMatrix,
  trainLabels: Int32Array,
  test: FeatureMatrix,
  testLabels: Int32Array,
  options: KnnOptions = {},
): Accuracy {
  const { k = 20, temperature = 0.07, device = 'cpu' } = options;
  const { rows, dim } = checkFeatures(train, trainLabels, 'training');
  const { rows: queries } = checkFeatures(test, testLabels, 'held-out');
  const classes = classCount(trainLabels, testLabels);
  const neighbours = Math.min(k, rows);
  const bank = raw.fromArray(normalised(train.data, dim), [rows, dim], { device });
  const wanted = normalised(test.data, dim);
  const step = Math.max(1, Math.min(512, Math.floor(BLOCK_ELEMENTS / rows)));
  const best = new Nearest(neighbours);
  const votes = new Float64Array(classes);
  let top1 = 0;
  let top5 = 0;
  try {
    for (let from = 0; from < queries; from += step) {
      const count = Math.min(step, queries - from);
      const similarity = raw.scope(() => {
        const block = raw.fromArray(wanted.subarray(from * dim, (from + count) * dim), [count, dim], {
          device,
        });
        return raw.toArray(raw.matmul(block, bank, { transB: true })) as Float32Array;
      });
      for (let q = 0; q < count; q++) {
        best.select(similarity.subarray(q * rows, (q + 1) * rows));
        votes.fill(Number.NEGATIVE_INFINITY);
        for (let n = 0; n < neighbours; n++) {
          const label = trainLabels[best.index[n]!]!;
          const weight = Math.exp((best.value[n]! - 1) / temperature);
          votes[label] = votes[label] === Number.NEGATIVE_INFINITY ? weight : votes[label]! + weight;
        }
        const hit = hits(votes, testLabels[from + q]!);
        if (hit.top1) top1++;
        if (hit.top5) top5++;
      }
    }
  } finally {
    bank.dispose();
  }
  return { top1: top1 / queries, top5: top5 / queries };
}

/** Rows scaled to length 1; a row of zeros stays zero. */
function normalised(data: Float32Array, dim: number): Float32Array {
  const result = new Float32Array(data.length);
  for (let at = 0; at < data.length; at += dim) {
    let sum = 0;
    for (let i = at; i < at + dim; i++) sum += data[i]! * data[i]!;
    const factor = sum > 0 ? 1 / Math.sqrt(sum) : 0;
    for (let i = at; i < at + dim; i++) result[i] = data[i]! * factor;
  }
  return result;
}

/** The k largest of a row, largest first, the lower index first among equals. */
class Nearest {
  readonly index: Int32Array;
  readonly value: Float64Array;

  constructor(private readonly k: number) {
    this.index = new Int32Array(k);
    this.value = new Float64Array(k);
  }

  select(row: Float32Array): void {
    const { index, value, k } = this;
    let filled = 0;
    let threshold = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < row.length; i++) {
      const candidate = row[i]!;
      if (filled === k && candidate <= threshold) continue;
      let at = filled < k ? filled++ : k - 1;
      while (at > 0 && value[at - 1]! < candidate) {
        value[at] = value[at - 1]!;
        index[at] = index[at - 1]!;
        at--;
      }
      value[at] = candidate;
      index[at] = i;
      threshold = value[filled - 1]!;
    }
  }
}
