import { toArray } from '@d2v/cuda-kernels';
import { Philox } from '../random.js';
import { backward, noGrad, scope } from '../tensor/autograd.js';
import { cast, mul, sum } from '../tensor/ops.js';
import { type Shape, type Tensor, tensor } from '../tensor/tensor.js';

/** An input of a function under test: its shape, or its numbers, or how to draw them. */
export type InputSpec =
  | Shape
  | {
      shape: Shape;
      data?: readonly number[] | Float32Array;
      /** Draw uniformly from here instead of N(0, 1). */
      range?: readonly [number, number];
      /** Keep drawn numbers at least this far from zero (for functions with a kink there). */
      awayFromZero?: number;
      /** False: not differentiated. */
      grad?: boolean;
    };

export interface GradcheckOptions {
  device?: string;
  seed?: number;
  /** Largest step of the central differences, relative to inputs of size one. Default 0.04. */
  step?: number;
  /** Largest error, relative to the largest gradient of the same input. Default 2e-3. */
  tolerance?: number;
  /** Absolute part of the tolerance. Default 2e-4. */
  absolute?: number;
  /** Elements of each input that are checked one by one. Default 24. */
  elements?: number;
}

export interface HostInput {
  shape: Shape;
  data: Float32Array;
  grad: boolean;
}

/** The numbers of an input, the same for the same name and seed. */
export function drawInput(spec: InputSpec, name: string, seed: number): HostInput {
  const full = Array.isArray(spec) ? { shape: spec as Shape } : (spec as Exclude<InputSpec, Shape>);
  const size = full.shape.reduce((n, d) => n * d, 1);
  const rng = new Philox(seed).fork('input', name);
  const draw = () => {
    const [lo, hi] = full.range ?? [0, 0];
    const z = full.range ? rng.uniform(lo, hi) : rng.normal();
    const gap = full.awayFromZero ?? 0;
    return Math.abs(z) < gap ? (z < 0 ? z - gap : z + gap) : z;
  };
  const data = full.data ? Float32Array.from(full.data) : Float32Array.from({ length: size }, draw);
  return { shape: full.shape, data, grad: full.grad ?? true };
}

/** Random directions per input. */
const DIRECTIONS = 4;

/** Host copy of a floating tensor. */
export function hostValues(t: Tensor): Float32Array {
  return noGrad(() => cast(t, 'f32').toArray()) as Float32Array;
}

/**
 * Compares the gradients of a function with central differences. The output is projected on a fixed random direction;
 * each input is checked along some random directions of its own and at a sample of its elements. The function runs in f32,
 * so the differences are Richardson-extrapolated from two large steps, which keeps rounding out of the quotient.
 *
 * @param fn any composition of differentiable operations; it must give the same result for the same inputs
 * @param inputs by name
 * @throws Error naming the input, the element and both numbers where they disagree
 */
export function gradcheck(
  fn: (inputs: Record<string, Tensor>) => Tensor,
  inputs: Record<string, InputSpec>,
  options: GradcheckOptions = {},
): void {
  const { device = 'cpu', seed = 1, step = 0.04, tolerance = 2e-3, absolute = 2e-4, elements = 24 } = options;
  const host = Object.entries(inputs).map(
    ([name, spec]) => [name, drawInput(spec, name, seed)] as [string, HostInput],
  );
  const build = (grad: boolean) =>
    Object.fromEntries(
      host.map(([name, h]) => [name, tensor(h.data, h.shape, { device, requiresGrad: grad && h.grad })]),
    );
  let projection = new Float32Array(0);

  const analytic = scope(() => {
    const leaves = build(true);
    const y = fn(leaves);
    const rng = new Philox(seed).fork('projection');
    projection = Float32Array.from({ length: y.size }, () => rng.normal());
    backward(sum(mul(cast(y, 'f32'), tensor(projection, y.shape, { device }))));
    const gradients = new Map<string, Float32Array>();
    for (const [name, h] of host) {
      const leaf = leaves[name]!;
      if (!h.grad) continue;
      const values = leaf.grad ? (toArray(leaf.grad) as Float32Array) : h.data.map(() => 0);
      gradients.set(name, Float32Array.from(values));
      leaf.dispose();
    }
    return gradients;
  });

  const value = () =>
    scope(() => {
      const y = hostValues(noGrad(() => fn(build(false))));
      let total = 0;
      for (let i = 0; i < y.length; i++) total += y[i]! * projection[i]!;
      return total;
    });

  for (const [name, h] of host) {
    const grad = analytic.get(name);
    if (!grad) continue;
    const original = h.data.slice();
    const along = (direction: Float32Array | Map<number, number>) => {
      const at = (t: number) => {
        h.data.set(original);
        let moved = 0;
        for (const [i, d] of direction.entries()) {
          const before = h.data[i]!;
          h.data[i] = before + t * d;
          // What f32 really added, so that the quotient is exact in it.
          moved += (h.data[i]! - before) * d;
        }
        return { y: value(), moved };
      };
      const quotient = (t: number) => {
        const plus = at(t);
        const minus = at(-t);
        let norm = 0;
        for (const [, d] of direction.entries()) norm += d * d;
        return ((plus.y - minus.y) / (plus.moved - minus.moved)) * norm;
      };
      const result = (4 * quotient(step / 2) - quotient(step)) / 3;
      h.data.set(original);
      return result;
    };
    const largest = grad.reduce((m, g) => Math.max(m, Math.abs(g)), 0);
    const compare = (what: string, numeric: number, exact: number, size: number) => {
      const error = Math.abs(numeric - exact);
      if (!(error <= absolute * size + tolerance * largest * size)) {
        throw new Error(
          `gradient of '${name}' ${what}: ${exact} by the tape, ${numeric} by differences (largest ${largest})`,
        );
      }
    };

    const rng = new Philox(seed).fork('direction', name);
    for (let trial = 0; trial < DIRECTIONS; trial++) {
      const direction = Float32Array.from(original, () => rng.normal());
      const length = Math.hypot(...direction) || 1;
      for (let i = 0; i < direction.length; i++) direction[i]! /= length;
      const exact = grad.reduce((s, g, i) => s + g * direction[i]!, 0);
      compare('along a random direction', along(direction), exact, 0.5);
    }

    for (const i of rng.choose(grad.length, Math.min(elements, grad.length))) {
      compare(`at element ${i}`, along(new Map([[i, 1]])), grad[i]!, 1);
    }
  }
}
