import * as k from '@d2v/cuda-kernels';
import { describe, expect, it } from 'vitest';
import { customOp } from '../tensor/autograd.js';
import * as ops from '../tensor/ops.js';
import type { Tensor } from '../tensor/tensor.js';
import { gradcheck } from './gradcheck.js';

/** x^2 with a gradient that is wrong by a factor. */
const square = (x: Tensor, factor: number) =>
  customOp({
    name: 'square',
    inputs: [x],
    forward: () => ({ out: k.mul(x.raw, x.raw), saved: { x: x.raw } }),
    backward: ({ dy }, s) => [() => k.scale(k.mul(dy, s.x), 2 * factor)],
  });

describe('gradcheck', () => {
  it('accepts a right gradient', () => {
    gradcheck(({ x }) => square(x!, 1), { x: [3, 4] });
  });

  it('notices a gradient that is one percent off', () => {
    expect(() => gradcheck(({ x }) => square(x!, 1.01), { x: [3, 4] })).toThrow(/gradient of 'x'/);
  });

  it('notices one wrong element among many', () => {
    const fn = ({ x }: Record<string, Tensor>) =>
      customOp({
        name: 'double',
        inputs: [x!],
        forward: () => ({ out: k.scale(x!.raw, 2), saved: {} }),
        backward: ({ dy }) => [
          () => {
            const dx = k.scale(dy, 2);
            k.fill_(dx.view(700, [1]), 0);
            return dx;
          },
        ],
      });
    expect(() => gradcheck(fn, { x: [1000] })).toThrow(/along a random direction/);
  });

  it('notices a gradient that is missing', () => {
    expect(() => gradcheck(({ x, y }) => ops.mul(x!, y!.detach()), { x: [4], y: [4] })).toThrow(/'y'/);
  });

  it('names inputs that are not differentiated as such', () => {
    gradcheck(({ x, y }) => ops.mul(x!, y!), { x: [4], y: { shape: [4], grad: false } });
  });
});
