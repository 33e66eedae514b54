/** Gradient checks of a modality's encoder, alone and inside the whole model. */
import * as k from '@d2v/cuda-kernels';
import { type Data2Vec, Pass } from '../data2vec/index.js';
import type { Batch } from '../modality/contract.js';
import { Philox } from '../random.js';
import { backward, noGrad, scope } from '../tensor/autograd.js';
import { mul, sum } from '../tensor/ops.js';
import { tensor } from '../tensor/tensor.js';

/** A number that depends on the weights, and its gradients: `backward` adds them to the arena. */
interface Objective {
  value(): number;
  backward(): void;
}

const SEED = 5;

/** The local features of a batch, projected on a fixed random direction. */
export function localObjective(model: Data2Vec, key: string, batch: Batch): Objective {
  const encoder = model.student.encoder(key);
  const projected = (training: boolean) => {
    const pass = new Pass({ seed: SEED, update: 0, training, device: 'cpu', dtype: 'f32' });
    try {
      const x = encoder.localFeatures(batch, pass);
      const rng = new Philox(SEED).fork('direction');
      const size = x.shape.reduce((a, b) => a * b, 1);
      const direction = Float32Array.from({ length: size }, () => rng.normal() / Math.sqrt(size));
      return sum(mul(x, tensor(direction, x.shape)));
    } finally {
      pass.dispose();
    }
  };
  return {
    value: () => noGrad(() => scope(() => projected(true).item())),
    backward: () => scope(() => backward(projected(true))),
  };
}

/** The loss per masked token. */
export function lossObjective(model: Data2Vec, modality: string, batch: Batch): Objective {
  const plan = model.plan(batch, { modality, update: 0, firstSample: 0 });
  const options = { totalSampleSize: plan.sampleSize };
  return {
    value() {
      const result = model.forward(plan, options);
      result.dispose();
      return result.loss / plan.sampleSize;
    },
    backward() {
      const result = model.forward(plan, options);
      result.backward();
      result.dispose();
    },
  };
}

/** A parameter whose gradient does not agree with differences. */
export interface GradientError {
  name: string;
  /** Length of the gradient as computed. */
  computed: number;
  /** Slope along it by central differences, nearest of the steps tried. */
  measured: number;
}

/**
 * Moves each parameter along its own gradient and compares the slope with the gradient's length. Several steps are tried:
 * too large ones err by curvature, too small ones by rounding.
 * @param names parameters to check
 * @returns those whose best step is off by more than 3 %, and those without any gradient
 */
export function checkGradients(model: Data2Vec, objective: Objective, names: readonly string[]) {
  model.zeroGrad();
  objective.backward();
  const weights = model.arena.named('weights');
  const grads = model.arena.named('grads');
  const without: string[] = [];
  const wrong: GradientError[] = [];
  const lengths = new Map(
    names.map((name) => [name, k.scope(() => Math.sqrt(k.item(k.sumSquares(grads.get(name)!))))]),
  );
  const typical = Math.max(...lengths.values());
  try {
    for (const name of names) {
      const computed = lengths.get(name)!;
      if (computed === 0) without.push(name);
      // Differences of float32 losses cannot resolve a slope that is tiny beside the others.
      if (computed < 1e-4 * typical) continue;
      const measured = slope(objective, weights.get(name)!, grads.get(name)!, computed);
      if (Math.abs(measured - computed) > 0.03 * computed) wrong.push({ name, computed, measured });
    }
  } finally {
    for (const raw of [...weights.values(), ...grads.values()]) raw.dispose();
    model.zeroGrad();
  }
  return { without, wrong };
}

function slope(objective: Objective, weight: k.RawTensor, gradient: k.RawTensor, length: number): number {
  const start = Float32Array.from(k.toArray(weight) as Float32Array);
  const direction = Float32Array.from(k.toArray(gradient) as Float32Array, (g) => g / length);
  const size = Math.sqrt(start.reduce((sum, w) => sum + w * w, 0)) || 1;
  const at = (step: number) => {
    k.write_(
      weight,
      Float32Array.from(start, (w, i) => w + step * direction[i]!),
    );
    return objective.value();
  };
  let best = Number.NaN;
  for (const relative of [0.02, 0.1, 0.004, 0.3]) {
    const step = relative * size;
    const measured = (at(step) - at(-step)) / (2 * step);
    if (!(Math.abs(measured - length) >= Math.abs(best - length))) best = measured;
    if (Math.abs(best - length) < 0.01 * length) break;
  }
  k.write_(weight, start);
  return best;
}
