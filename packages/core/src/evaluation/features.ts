import { D2vError } from '../errors.js';

/** Features of N samples, row-major. */
export interface FeatureMatrix {
  data: Float32Array;
  /** [N, D] */
  shape: readonly number[];
}

/** Share of samples whose class is the best guess, or among the best five. */
export interface Accuracy {
  top1: number;
  top5: number;
}

/** N and D. @throws D2vError if data, labels and shape contradict each other or a value is not finite */
export function checkFeatures(
  x: FeatureMatrix,
  labels: Int32Array,
  what: string,
): { rows: number; dim: number } {
  const [rows, dim] = x.shape;
  if (x.shape.length !== 2 || rows === undefined || dim === undefined || x.data.length !== rows * dim) {
    throw new D2vError(
      `${what} features must be [samples, width]; got ${x.data.length} numbers of shape [${x.shape}]`,
    );
  }
  if (labels.length !== rows) throw new D2vError(`${what}: ${rows} feature rows but ${labels.length} labels`);
  if (rows === 0) throw new D2vError(`${what}: there are no labelled samples to evaluate on`);
  for (const value of x.data) {
    if (!Number.isFinite(value))
      throw new D2vError(`${what} features contain NaN or infinity: the network has diverged`);
  }
  return { rows, dim };
}

/** Number of classes that labels of both parts speak of. @throws D2vError for a negative label */
export function classCount(...labels: Int32Array[]): number {
  let largest = -1;
  for (const part of labels) {
    for (const label of part) {
      if (label < 0) throw new D2vError('a sample without label cannot be evaluated');
      if (label > largest) largest = label;
    }
  }
  return largest + 1;
}

/** Whether `label` is the best, and among the best five, of scores where -Infinity is no guess; ties: lower index first. */
export function hits(scores: ArrayLike<number>, label: number): { top1: boolean; top5: boolean } {
  const own = scores[label]!;
  if (own === Number.NEGATIVE_INFINITY) return { top1: false, top5: false };
  let rank = 0;
  for (let c = 0; c < scores.length; c++) {
    if (scores[c]! > own || (scores[c] === own && c < label)) rank++;
  }
  return { top1: rank === 0, top5: rank < 5 };
}
