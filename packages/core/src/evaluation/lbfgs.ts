/** Limited-memory BFGS for smooth convex functions (Nocedal & Wright, algorithms 7.4 and 7.5). */

export interface LbfgsOptions {
  maxIterations?: number;
  /** Stop when the largest element of the gradient is at or below (default 1e-5). */
  gradientTolerance?: number;
  /** Stop when an iteration lowers the value by less than this share of it (default 1e-7). */
  valueTolerance?: number;
  /** Pairs of steps and gradient changes remembered (default 10). */
  memory?: number;
}

export interface LbfgsResult {
  x: Float64Array;
  value: number;
  iterations: number;
}

/**
 * Minimises `f` from `start` (not changed). Deterministic.
 * @param f returns the value at x and writes the gradient into its second argument
 */
export function lbfgs(
  f: (x: Float64Array, gradient: Float64Array) => number,
  start: Float64Array,
  options: LbfgsOptions = {},
): LbfgsResult {
  const { maxIterations = 200, gradientTolerance = 1e-5, valueTolerance = 1e-7, memory = 10 } = options;
  let x: Float64Array = Float64Array.from(start);
  let gradient: Float64Array = new Float64Array(x.length);
  let value = f(x, gradient);
  const history: { s: Float64Array; y: Float64Array; rho: number }[] = [];
  for (let iteration = 0; iteration < maxIterations; iteration++) {
    if (maxAbs(gradient) <= gradientTolerance) return { x, value, iterations: iteration };
    const direction = descent(gradient, history);
    let slope = dot(direction, gradient);
    if (slope >= 0) {
      // Rounding has spoiled the memory: start again from steepest descent.
      history.length = 0;
      direction.set(gradient.map((g) => -g));
      slope = dot(direction, gradient);
    }
    let step = history.length > 0 ? 1 : Math.min(1, 1 / Math.sqrt(-slope));
    let next: { x: Float64Array; gradient: Float64Array; value: number } | undefined;
    for (let attempt = 0; attempt < 25; attempt++, step *= 0.5) {
      const candidate = x.map((v, i) => v + step * direction[i]!);
      const candidateGradient = new Float64Array(x.length);
      const candidateValue = f(candidate, candidateGradient);
      if (candidateValue <= value + 1e-4 * step * slope) {
        next = { x: candidate, gradient: candidateGradient, value: candidateValue };
        break;
      }
    }
    if (!next) return { x, value, iterations: iteration };
    const s = next.x.map((v, i) => v - x[i]!);
    const y = next.gradient.map((v, i) => v - gradient[i]!);
    const sy = dot(s, y);
    if (sy > 1e-10 * dot(y, y)) {
      history.push({ s, y, rho: 1 / sy });
      if (history.length > memory) history.shift();
    }
    const fall = value - next.value;
    ({ x, gradient, value } = next);
    if (fall <= valueTolerance * Math.max(Math.abs(value), 1e-12))
      return { x, value, iterations: iteration + 1 };
  }
  return { x, value, iterations: maxIterations };
}

/** The two-loop recursion: minus the approximate inverse Hessian times the gradient. */
function descent(
  gradient: Float64Array,
  history: readonly { s: Float64Array; y: Float64Array; rho: number }[],
): Float64Array {
  const q = gradient.map((g) => -g);
  const alpha: number[] = [];
  for (let i = history.length - 1; i >= 0; i--) {
    const { s, y, rho } = history[i]!;
    alpha[i] = rho * dot(s, q);
    addScaled(q, -alpha[i]!, y);
  }
  const last = history.at(-1);
  if (last) {
    const gamma = 1 / (last.rho * dot(last.y, last.y));
    for (let i = 0; i < q.length; i++) q[i] = q[i]! * gamma;
  }
  for (const [i, { s, y, rho }] of history.entries()) addScaled(q, alpha[i]! - rho * dot(y, q), s);
  return q;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function addScaled(target: Float64Array, factor: number, x: Float64Array): void {
  for (let i = 0; i < target.length; i++) target[i] = target[i]! + factor * x[i]!;
}

function maxAbs(a: Float64Array): number {
  let largest = 0;
  for (const v of a) largest = Math.max(largest, Math.abs(v));
  return largest;
}
