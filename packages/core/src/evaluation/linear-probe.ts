/**
 * Linear probe: multinomial logistic regression with L2 regularisation on standardised frozen features, fitted to the
 * optimum, so there is no learning rate to tune and the result is the same every time. The strength of the
 * regularisation is chosen on a fifth of the training part.
 */
import * as raw from '@d2v/cuda-kernels';
import { type Accuracy, checkFeatures, classCount, type FeatureMatrix, hits } from './features.js';
import { LogisticProblem } from './logistic.js';

export interface LinearProbeOptions {
  /** Strengths to choose from, on the mean cross-entropy (default 1 to 1e-5 in powers of ten). */
  strengths?: readonly number[];
  maxIterations?: number;
  device?: string;
}

export interface LinearProbeResult extends Accuracy {
  /** The chosen strength. */
  strength: number;
  /** Accuracy on the part of the training samples that chose it. */
  selection: number;
}

const STRENGTHS = [1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5];

/**
 * Fits on `train` and scores `test`.
 * @throws D2vError if shapes and labels contradict each other or features are not finite
 */
export function linearProbe(
  train: FeatureMatrix,
  trainLabels: Int32Array,
  test: FeatureMatrix,
  testLabels: Int32Array,
  options: LinearProbeOptions = {},
): LinearProbeResult {
  const { maxIterations = 200, device = 'cpu' } = options;
  const { dim } = checkFeatures(train, trainLabels, 'training');
  checkFeatures(test, testLabels, 'held-out');
  const classes = classCount(trainLabels, testLabels);
  const { fit, held } = splitFifth(trainLabels);
  // From strong to weak: each optimum is a good start for the next.
  const strengths = [...(options.strengths ?? STRENGTHS)].sort((a, b) => b - a);
  let weights: Float64Array = new Float64Array(classes * (dim + 1));
  let chosen = { strength: strengths[0]!, selection: -1 };
  if (strengths.length > 1 && held.length > 0) {
    const inner = standardiser(take(train.data, dim, fit), dim);
    const problem = new LogisticProblem(
      inner(take(train.data, dim, fit)),
      takeLabels(trainLabels, fit),
      dim,
      classes,
      device,
    );
    const heldX = inner(take(train.data, dim, held));
    const heldY = takeLabels(trainLabels, held);
    try {
      let worse = 0;
      for (const strength of strengths) {
        weights = problem.solve(weights, strength, maxIterations);
        const selection = score(weights, heldX, heldY, dim, classes, device).top1;
        worse = selection < chosen.selection ? worse + 1 : 0;
        if (selection > chosen.selection) chosen = { strength, selection };
        if (worse === 2) break;
      }
    } finally {
      problem.dispose();
    }
  }
  const outer = standardiser(train.data, dim);
  const problem = new LogisticProblem(outer(train.data), trainLabels, dim, classes, device);
  try {
    const start = new Float64Array(classes * (dim + 1));
    const final = problem.solve(start, chosen.strength, maxIterations);
    return { ...score(final, outer(test.data), testLabels, dim, classes, device), ...chosen };
  } finally {
    problem.dispose();
  }
}

/** Every fifth sample of each class is held out. */
function splitFifth(labels: Int32Array): { fit: number[]; held: number[] } {
  const seen = new Map<number, number>();
  const fit: number[] = [];
  const held: number[] = [];
  labels.forEach((label, i) => {
    const nth = seen.get(label) ?? 0;
    seen.set(label, nth + 1);
    (nth % 5 === 4 ? held : fit).push(i);
  });
  return { fit, held };
}

function take(data: Float32Array, dim: number, rows: readonly number[]): Float32Array {
  const result = new Float32Array(rows.length * dim);
  rows.forEach((row, i) => {
    result.set(data.subarray(row * dim, (row + 1) * dim), i * dim);
  });
  return result;
}

const takeLabels = (labels: Int32Array, rows: readonly number[]) =>
  Int32Array.from(rows, (row) => labels[row]!);

/**
 * Zero mean and unit variance per column of `data`. A hundredth of the average variance is added to each, so that a
 * column that hardly varies in training is not blown up in the test.
 */
function standardiser(data: Float32Array, dim: number): (x: Float32Array) => Float32Array {
  const rows = data.length / dim;
  const mean = new Float64Array(dim);
  const square = new Float64Array(dim);
  for (let at = 0; at < data.length; at += dim)
    for (let j = 0; j < dim; j++) mean[j] = mean[j]! + data[at + j]! / rows;
  for (let at = 0; at < data.length; at += dim) {
    for (let j = 0; j < dim; j++) square[j] = square[j]! + (data[at + j]! - mean[j]!) ** 2 / rows;
  }
  const floor = 0.01 * (square.reduce((a, b) => a + b, 0) / dim) + 1e-30;
  const factor = square.map((variance) => 1 / Math.sqrt(variance + floor));
  return (x) => {
    const result = new Float32Array(x.length);
    for (let at = 0; at < x.length; at += dim) {
      for (let j = 0; j < dim; j++) result[at + j] = (x[at + j]! - mean[j]!) * factor[j]!;
    }
    return result;
  };
}

function score(
  weights: Float64Array,
  data: Float32Array,
  labels: Int32Array,
  dim: number,
  classes: number,
  device: string,
): Accuracy {
  const split = classes * dim;
  const logits = raw.scope(() => {
    const x = raw.fromArray(data, [labels.length, dim], { device });
    const weight = raw.fromArray(Float32Array.from(weights.subarray(0, split)), [classes, dim], { device });
    const bias = raw.fromArray(Float32Array.from(weights.subarray(split)), [classes], { device });
    return raw.toArray(raw.linear(x, weight, bias).y) as Float32Array;
  });
  let top1 = 0;
  let top5 = 0;
  labels.forEach((label, i) => {
    const hit = hits(logits.subarray(i * classes, (i + 1) * classes), label);
    if (hit.top1) top1++;
    if (hit.top5) top5++;
  });
  return { top1: top1 / labels.length, top5: top5 / labels.length };
}
