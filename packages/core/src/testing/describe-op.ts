import { deviceInfo } from '@d2v/cuda-kernels';
import { describe, expect, it } from 'vitest';
import { noGrad, scope } from '../tensor/autograd.js';
import { type Tensor, tensor } from '../tensor/tensor.js';
import { drawInput, type GradcheckOptions, gradcheck, hostValues, type InputSpec } from './gradcheck.js';
import { Nd } from './nd.js';

/** One case of an operation: inputs, the call, and what it should give. */
export interface OpCase {
  inputs: Record<string, InputSpec>;
  run: (inputs: Record<string, Tensor>) => Tensor;
  /** A plain computation in f64 of the same thing; omit it where the gradient check alone says enough. */
  expected?: (inputs: Record<string, Nd>) => Nd;
  /** Largest error of the forward pass relative to the largest expected value. Default 1e-5. */
  tolerance?: number;
  /** Options of the gradient check; false skips it. */
  gradcheck?: GradcheckOptions | false;
}

/** The devices that are there: 'cpu' always. */
export function presentDevices(): string[] {
  return deviceInfo().devices.map((d: string | { name: string }) => (typeof d === 'string' ? d : d.name));
}

/** Throws unless all values are within `tolerance` of the expected ones, relative to the largest of them. */
export function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 1e-5): void {
  expect(actual.length).toBe(expected.length);
  let largest = 1e-30;
  for (let i = 0; i < expected.length; i++) largest = Math.max(largest, Math.abs(expected[i]!));
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i]! - expected[i]!);
    if (!(error <= tolerance * Math.max(largest, 1e-3))) {
      throw new Error(`element ${i}: got ${actual[i]}, expected ${expected[i]} (largest ${largest})`);
    }
  }
}

/**
 * Tests an operation on every device present: the forward pass against a plain f64 computation, the gradients against
 * central differences. One block of tests per case.
 */
export function describeOp(name: string, cases: Record<string, OpCase>, devices = presentDevices()): void {
  describe.each(devices)(`${name} on %s`, (device) => {
    for (const [title, c] of Object.entries(cases)) {
      if (c.expected) {
        const expected = c.expected;
        it(`${title}: forward`, () => {
          const host = Object.entries(c.inputs).map(([n, spec]) => [n, drawInput(spec, n, 1)] as const);
          const wanted = expected(Object.fromEntries(host.map(([n, h]) => [n, new Nd(h.shape, h.data)])));
          scope(() => {
            const inputs = host.map(([n, h]) => [n, tensor(h.data, h.shape, { device })] as const);
            const y = noGrad(() => c.run(Object.fromEntries(inputs)));
            expect([...y.shape]).toEqual([...wanted.shape]);
            expectClose(hostValues(y), wanted.data, c.tolerance);
          });
        });
      }
      if (c.gradcheck !== false) {
        it(`${title}: gradient`, () => gradcheck(c.run, c.inputs, { device, ...c.gradcheck }));
      }
    }
  });
}
