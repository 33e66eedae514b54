import { describe, expect, it } from 'vitest';
import { lbfgs } from './lbfgs.js';

describe('lbfgs', () => {
  it('solves an ill-conditioned quadratic', () => {
    const scale = [1, 10, 100, 1000];
    const f = (x: Float64Array, g: Float64Array) => {
      let value = 0;
      scale.forEach((s, i) => {
        const d = x[i]! - i;
        value += 0.5 * s * d * d;
        g[i] = s * d;
      });
      return value;
    };
    const { x, value, iterations } = lbfgs(f, new Float64Array(4), {
      gradientTolerance: 1e-9,
      valueTolerance: 0,
    });
    for (const [i, v] of x.entries()) expect(v).toBeCloseTo(i, 6);
    expect(value).toBeLessThan(1e-12);
    expect(iterations).toBeLessThan(60);
  });

  it('minimises a log-sum-exp', () => {
    const f = (x: Float64Array, g: Float64Array) => {
      const terms = [
        Math.exp(x[0]! + 3 * x[1]! - 0.1),
        Math.exp(x[0]! - 3 * x[1]! - 0.1),
        Math.exp(-x[0]! - 0.1),
      ];
      g[0] = terms[0]! + terms[1]! - terms[2]!;
      g[1] = 3 * terms[0]! - 3 * terms[1]!;
      return terms[0]! + terms[1]! + terms[2]!;
    };
    const { x, value } = lbfgs(f, new Float64Array([1, 1]), { valueTolerance: 0 });
    expect(x[0]).toBeCloseTo(-0.5 * Math.log(2), 5);
    expect(x[1]).toBeCloseTo(0, 5);
    expect(value).toBeCloseTo(2 * Math.SQRT2 * Math.exp(-0.1), 9);
  });

  it('stops at once at a minimum and leaves the start unchanged', () => {
    const start = new Float64Array([0]);
    const f = (x: Float64Array, g: Float64Array) => {
      g[0] = 2 * x[0]!;
      return x[0]! * x[0]!;
    };
    expect(lbfgs(f, start).iterations).toBe(0);
    expect(start[0]).toBe(0);
  });
});
