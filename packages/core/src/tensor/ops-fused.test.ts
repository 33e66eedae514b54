import { fromArray, type RawTensor } from '@d2v/cuda-kernels';
import { describeOp } from '../testing/describe-op.js';
import { Nd, total } from '../testing/nd.js';
import * as reference from '../testing/reference.js';
import * as ops from './ops.js';

const key = { seed: 5, update: 3, stream: 9 };
const ints = (data: number[], shape: number[], device: string): RawTensor =>
  fromArray(Int32Array.from(data), shape, { dtype: 'i32', device });

describeOp('linear', {
  'rank 3 with bias': {
    inputs: { x: [2, 3, 4], w: [5, 4], b: [5] },
    run: ({ x, w, b }) => ops.linear(x!, w!, b),
    expected: ({ x, w, b }) => reference.linear(x!, w!, b),
  },
  'without bias': {
    inputs: { x: [6, 4], w: [5, 4] },
    run: ({ x, w }) => ops.linear(x!, w!),
    expected: ({ x, w }) => reference.linear(x!, w!),
  },
  'with GELU': {
    inputs: { x: [6, 4], w: [5, 4], b: [5] },
    run: ({ x, w, b }) => ops.linear(x!, w!, b, { activation: 'gelu' }),
    expected: ({ x, w, b }) => reference.linear(x!, w!, b).map(reference.gelu),
  },
  'frozen weight, trained bias': {
    inputs: { x: [6, 4], w: { shape: [5, 4], grad: false }, b: [5] },
    run: ({ x, w, b }) => ops.linear(x!, w!, b),
  },
  'input used three times': {
    inputs: { x: [3, 4], w: [4, 4] },
    run: ({ x, w }) => {
      const h = ops.tanh(x!);
      return ops.add(ops.add(ops.linear(h, w!), ops.linear(h, w!, null, { activation: 'gelu' })), h);
    },
  },
});

describeOp('mlp', {
  plain: {
    inputs: { x: [2, 3, 4], w1: [8, 4], b1: [8], w2: [4, 8], b2: [4] },
    run: ({ x, w1, b1, w2, b2 }) => ops.mlp(x!, w1!, b1!, w2!, b2!),
    expected: ({ x, w1, b1, w2, b2 }) =>
      reference.linear(reference.linear(x!, w1!, b1).map(reference.gelu), w2!, b2),
  },
  'with dropout inside': {
    inputs: { x: [5, 4], w1: [8, 4], b1: [8], w2: [4, 8], b2: [4] },
    run: ({ x, w1, b1, w2, b2 }) => ops.mlp(x!, w1!, b1!, w2!, b2!, { dropout: 0.4, key }),
  },
  'without biases': {
    inputs: { x: [5, 4], w1: [8, 4], w2: [4, 8] },
    run: ({ x, w1, w2 }) => ops.mlp(x!, w1!, null, w2!, null),
  },
});

describeOp('layerNorm', {
  affine: {
    inputs: { x: [3, 2, 8], w: [8], b: [8] },
    run: ({ x, w, b }) => ops.layerNorm(x!, { weight: w, bias: b, eps: 1e-5 }),
    expected: ({ x, w, b }) => reference.layerNorm(x!, 1e-5, w, b),
  },
  'without affine': {
    inputs: { x: [5, 8] },
    run: ({ x }) => ops.layerNorm(x!, { eps: 1e-6 }),
    expected: ({ x }) => reference.layerNorm(x!, 1e-6),
  },
  'residual before': {
    inputs: { x: [5, 8], r: [5, 8], w: [8], b: [8] },
    run: ({ x, r, w, b }) => ops.layerNorm(x!, { weight: w, bias: b, eps: 1e-6, residual: r }),
    expected: ({ x, r, w, b }) => reference.layerNorm(reference.add(x!, r!), 1e-6, w, b),
  },
  'GELU and an addition after': {
    inputs: { x: [5, 8], a: [5, 8] },
    run: ({ x, a }) => ops.layerNorm(x!, { eps: 1e-5, activation: 'gelu', after: a }),
    expected: ({ x, a }) => reference.add(reference.layerNorm(x!, 1e-5).map(reference.gelu), a!),
  },
  'affine with GELU': {
    inputs: { x: [5, 8], w: [8], b: [8] },
    run: ({ x, w, b }) => ops.layerNorm(x!, { weight: w, bias: b, eps: 1e-5, activation: 'gelu' }),
    expected: ({ x, w, b }) => reference.layerNorm(x!, 1e-5, w, b).map(reference.gelu),
  },
  'the same tensor as input, residual and addition': {
    inputs: { x: [4, 8] },
    run: ({ x }) => {
      const h = ops.scale(x!, 0.7);
      return ops.layerNorm(h, { eps: 1e-5, residual: h, activation: 'gelu', after: h });
    },
  },
});

describeOp('patchify', {
  'channels first': {
    inputs: { x: [2, 3, 4, 6] },
    run: ({ x }) => ops.patchify(x!, [2, 3], 'cpq'),
    expected: ({ x }) =>
      Nd.build([2, 4, 18], (b, l, e) => {
        const [c, p, q] = [Math.floor(e / 6), Math.floor((e % 6) / 3), e % 3];
        return x!.at(b, c, Math.floor(l / 2) * 2 + p, (l % 2) * 3 + q);
      }),
  },
  'channels last': {
    inputs: { x: [1, 2, 4, 4] },
    run: ({ x }) => ops.patchify(x!, [2, 2], 'pqc'),
    expected: ({ x }) =>
      Nd.build([1, 4, 8], (b, l, e) => {
        const [p, q, c] = [Math.floor(e / 4), Math.floor((e % 4) / 2), e % 2];
        return x!.at(b, c, Math.floor(l / 2) * 2 + p, (l % 2) * 2 + q);
      }),
  },
  'and back': {
    inputs: { x: [2, 3, 4, 6] },
    run: ({ x }) => ops.unpatchify(ops.patchify(x!, [2, 2], 'pqc'), [3, 4, 6], [2, 2], 'pqc'),
    expected: ({ x }) => x!,
  },
});

const ids = [1, 3, 0, 4, 2, 3, 2, 2];

describeOp('gatherTokens', {
  'two rows per sample, with a prefix': {
    inputs: { x: [2, 5, 3], prefix: [1, 1, 3] },
    run: ({ x, prefix }) => ops.gatherTokens(x!, ints(ids, [4, 2], x!.device), prefix),
    expected: ({ x, prefix }) =>
      Nd.build([4, 3, 3], (r, j, c) =>
        j === 0 ? prefix!.at(0, 0, c) : x!.at(Math.floor(r / 2), ids[r * 2 + j - 1]!, c),
      ),
  },
  'without prefix': {
    inputs: { x: [2, 5, 3] },
    run: ({ x }) => ops.gatherTokens(x!, ints(ids, [4, 2], x!.device)),
    expected: ({ x }) => Nd.build([4, 2, 3], (r, j, c) => x!.at(Math.floor(r / 2), ids[r * 2 + j]!, c)),
  },
  'all tokens behind two others': {
    inputs: { x: [2, 3, 4], prefix: [2, 4] },
    run: ({ x, prefix }) => ops.gatherTokens(x!, null, prefix),
    expected: ({ x, prefix }) =>
      Nd.build([2, 5, 4], (b, t, c) => (t < 2 ? prefix!.at(t, c) : x!.at(b, t - 2, c))),
  },
  'only the prefix is trained': {
    inputs: { x: { shape: [2, 3, 4], grad: false }, prefix: [1, 4] },
    run: ({ x, prefix }) => ops.gatherTokens(x!, null, prefix),
  },
});

const restore = [0, 2, 1, 3, 4, 3, 0, 2, 1, 4];

describeOp('restoreTokens', {
  'noise given': {
    inputs: { x: [2, 3, 4], noise: { shape: [2, 3, 4], grad: false } },
    run: ({ x, noise }) => ops.restoreTokens(x!, ints(restore, [2, 5], x!.device), 1, noise!.raw),
    expected: ({ x, noise }) =>
      Nd.build([2, 5, 4], (r, t, c) => {
        const slot = restore[r * 5 + t]!;
        return slot < 2 ? x!.at(r, slot + 1, c) : noise!.at(r, slot - 2, c);
      }),
  },
  'noise drawn': {
    inputs: { x: [2, 3, 4] },
    run: ({ x }) => ops.restoreTokens(x!, ints(restore, [2, 5], x!.device), 1, { std: 0.01, key }),
  },
});

describeOp('embedding', {
  'with a padding row': {
    inputs: { table: [6, 3] },
    run: ({ table }) => {
      const t = ops.scale(table!, 1);
      return ops.embedding(ints([1, 5, 0, 1, 2, 2], [2, 3], table!.device), t);
    },
    expected: ({ table }) => Nd.build([2, 3, 3], (b, t, c) => table!.at([1, 5, 0, 1, 2, 2][b * 3 + t]!, c)),
  },
});

const positions = [1, 4, 2, 0, 3, 4];
const element = (beta: number) => (d: number) => {
  const a = Math.abs(d);
  return beta === 0 ? d * d : a < beta ? (0.5 * d * d) / beta : a - 0.5 * beta;
};
const maskedExpected = (beta: number, scale: number) => (inputs: Record<string, Nd>) => {
  const { pred, target } = inputs as { pred: Nd; target: Nd };
  const value = total(2, (r) =>
    total(3, (n) =>
      total(4, (d) => element(beta)(pred.at(r, n, d) - target.at(0, positions[r * 3 + n]!, d))),
    ),
  );
  return new Nd([1], [scale * value]);
};

describeOp('maskedLoss', {
  'squared error': {
    inputs: { pred: [2, 3, 4], target: { shape: [1, 5, 4], grad: false } },
    run: ({ pred, target }) =>
      ops.maskedLoss(pred!, target!.raw, ints(positions, [2, 3], pred!.device), { scale: 0.5 }),
    expected: maskedExpected(0, 0.5),
  },
  'smooth L1, weighted': {
    inputs: { pred: [2, 3, 4], target: { shape: [1, 5, 4], grad: false } },
    run: ({ pred, target }) =>
      ops.scale(ops.maskedLoss(pred!, target!.raw, ints(positions, [2, 3], pred!.device), { beta: 2 }), 3),
    expected: maskedExpected(2, 3),
    gradcheck: { step: 0.01, tolerance: 5e-3 },
  },
});

describeOp('crossEntropy', {
  'with an ignored row': {
    inputs: { logits: [4, 5] },
    run: ({ logits }) =>
      ops.crossEntropy(logits!, ints([1, 0, -1, 4], [4], logits!.device), { ignore: -1 }).loss,
    expected: ({ logits }) => {
      const p = reference.softmax(logits!);
      return new Nd([1], [-Math.log(p.at(0, 1)) - Math.log(p.at(1, 0)) - Math.log(p.at(3, 4))]);
    },
  },
  'with smoothing': {
    inputs: { logits: [3, 5] },
    run: ({ logits }) =>
      ops.crossEntropy(logits!, ints([1, 0, 4], [3], logits!.device), { smoothing: 0.1 }).loss,
  },
});
