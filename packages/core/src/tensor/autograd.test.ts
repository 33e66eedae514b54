import * as k from '@d2v/cuda-kernels';
import { describe, expect, it } from 'vitest';
import { gradcheck } from '../testing/gradcheck.js';
import { backward, customOp, gradEnabled, noGrad, scope } from './autograd.js';
import * as ops from './ops.js';
import { type Tensor, tensor } from './tensor.js';

const leaf = (data: number[], shape = [data.length]) => tensor(data, shape, { requiresGrad: true });
const numbers = (t: k.RawTensor | null) => [...(k.toArray(t!) as Float32Array)];

describe('backward', () => {
  it('sums over all uses of a tensor and over several passes', () => {
    scope(() => {
      const x = leaf([1, 2, 3]);
      backward(ops.sum(ops.add(ops.mul(x, x), ops.scale(x, 2))));
      expect(numbers(x.grad)).toEqual([4, 6, 8]);
      backward(ops.sum(x));
      expect(numbers(x.grad)).toEqual([5, 7, 9]);
      x.dispose();
    });
  });

  it('does not let two users of one gradient disturb each other', () => {
    gradcheck(
      ({ x }) => {
        const a = ops.scale(x!, 1);
        const b = ops.scale(x!, 1);
        const c = ops.add(a, b); // both get the very same gradient
        return ops.add(ops.mul(c, ops.add(a, c)), ops.add(b, ops.reshape(ops.reshape(b, [6]), [2, 3])));
      },
      { x: [2, 3] },
    );
  });

  it('takes several losses and a seed', () => {
    scope(() => {
      const x = leaf([2]);
      backward([ops.mul(x, x), ops.scale(x, 3)], 10);
      expect(numbers(x.grad)).toEqual([70]);
      x.dispose();
    });
  });

  it('frees what a step made as soon as its gradient is passed on, but not what is kept or detached', () => {
    scope(() => {
      const x = leaf([1, 2]);
      const a = ops.square(x);
      const b = ops.square(a).keep();
      const c = ops.square(b);
      const d = c.detach();
      const loss = ops.sum(c);
      backward(loss);
      expect(a.disposed).toBe(true);
      expect(c.disposed).toBe(true);
      expect(numbers(b.raw)).toEqual([1, 16]);
      expect(numbers(d.raw)).toEqual([1, 256]);
      expect(loss.item()).toBe(257);
      b.dispose();
      x.dispose();
    });
  });

  it('works when handles were given up early', () => {
    scope(() => {
      const x = leaf([1, 2, 3]);
      const a = ops.square(x);
      const b = ops.mul(a, a);
      a.dispose();
      const loss = ops.sum(b);
      b.dispose();
      backward(loss);
      expect(numbers(x.grad)).toEqual([4, 32, 108]);
      x.dispose();
    });
  });

  it('says what is wrong', () => {
    scope(() => {
      const x = leaf([1, 2]);
      expect(() => backward(tensor([1], [1]))).toThrow(/requiresGrad/);
      expect(() => backward(ops.square(x))).toThrow(/scalars, got shape \[2\]/);
      const loss = ops.sum(ops.square(x));
      backward(loss);
      expect(() => backward(loss)).toThrow(/ran through 'sum' before/);
      x.dispose();
    });
  });
});

describe('noGrad', () => {
  it('records nothing, nests, and ends with the function', () => {
    scope(() => {
      const x = leaf([1]);
      const y = noGrad(() => {
        expect(gradEnabled()).toBe(false);
        noGrad(() => undefined);
        expect(gradEnabled()).toBe(false);
        return ops.square(x);
      });
      expect(y.requiresGrad).toBe(false);
      expect(() =>
        noGrad(() => {
          throw new Error('out');
        }),
      ).toThrow('out');
      expect(gradEnabled()).toBe(true);
      expect(() => noGrad(async () => 1)).toThrow(/async/);
      expect(gradEnabled()).toBe(true);
    });
  });
});

describe('customOp', () => {
  const cube = (x: Tensor) =>
    customOp({
      name: 'cube',
      inputs: [x],
      forward: () => {
        const square = k.mul(x.raw, x.raw);
        return { out: k.mul(square, x.raw), saved: { square }, fresh: [square] };
      },
      backward: ({ dy }, { square }) => [() => k.scale(k.mul(dy, square), 3)],
    });

  it('is differentiated by its own rule', () => {
    gradcheck(({ x }) => cube(cube(x!)), { x: { shape: [5], range: [0.5, 1.2] } });
  });
});

describe('a rule that returns a saved tensor', () => {
  it('does not let its memory be written to', () => {
    const halfSquare = (x: Tensor) =>
      customOp({
        name: 'halfSquare',
        inputs: [x],
        forward: () => ({ out: k.scale(k.cast(k.sumSquares(x.raw), 'f32'), 0.5), saved: { x: x.raw } }),
        backward: (_g, { x: value }) => [() => value],
      });
    scope(() => {
      const x = leaf([1, 2]);
      const a = ops.scale(x, 1);
      const b = ops.square(a);
      backward([halfSquare(a), ops.sum(b), halfSquare(a)]);
      expect(numbers(x.grad)).toEqual([4, 8]);
      expect(numbers(x.raw)).toEqual([1, 2]);
      x.dispose();
    });
  });
});

describe('memory', () => {
  it('is flat over training steps', () => {
    const w1 = leaf(
      [...Array(24).keys()].map((i) => Math.sin(i)),
      [6, 4],
    );
    const w2 = leaf(
      [...Array(24).keys()].map((i) => Math.cos(i)),
      [4, 6],
    );
    const b = leaf([0, 0, 0, 0]);
    const step = () =>
      scope(() => {
        const x = tensor([...Array(20).keys()], [5, 4]);
        const h = ops.layerNorm(ops.mlp(x, w1, null, w2, b), { eps: 1e-5, residual: x });
        const unused = ops.softmax(h);
        const q = ops.concat([h, h, h], 1);
        const y = ops.attention(ops.reshape(q, [1, 5, 12]), null, {
          heads: 2,
          dropout: 0.1,
          key: { seed: 1, update: 1, stream: 1 },
        });
        const teacher = noGrad(() => ops.mlp(x, w1, null, w2, b));
        backward(ops.add(ops.mean(ops.square(y)), ops.mean(ops.mul(h, teacher))));
        return unused.shape.length;
      });
    step();
    const before = k.memoryStats();
    for (let i = 0; i < 20; i++) step();
    const after = k.memoryStats();
    expect(after.liveBuffers).toBe(before.liveBuffers);
    expect(after.current).toBe(before.current);
    for (const t of [w1, w2, b]) {
      t.dispose();
    }
  });
});
