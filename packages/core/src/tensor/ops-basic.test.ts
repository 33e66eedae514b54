import { fromArray } from '@d2v/cuda-kernels';
import { describeOp } from '../testing/describe-op.js';
import { Nd, total } from '../testing/nd.js';
import * as reference from '../testing/reference.js';
import * as ops from './ops.js';

const key = { seed: 5, update: 3, stream: 9 };
const wave = (x: Nd, fn: (v: number) => number) => x.map(fn);

describeOp('add', {
  'equal shapes': {
    inputs: { a: [3, 4], b: [3, 4] },
    run: ({ a, b }) => ops.add(a!, b!),
    expected: ({ a, b }) => reference.add(a!, b!),
  },
  'a suffix': {
    inputs: { a: [2, 3, 4], b: [3, 4] },
    run: ({ a, b }) => ops.add(a!, b!),
    expected: ({ a, b }) => reference.add(a!, b!),
  },
  'one element': {
    inputs: { a: [2, 3], b: [1] },
    run: ({ a, b }) => ops.add(a!, b!),
    expected: ({ a, b }) => reference.add(a!, b!),
  },
  'a tensor to itself': {
    inputs: { a: [2, 3] },
    run: ({ a }) => ops.add(a!, a!),
    expected: ({ a }) => wave(a!, (v) => 2 * v),
  },
});

describeOp('sub', {
  'equal shapes': {
    inputs: { a: [3, 4], b: [3, 4] },
    run: ({ a, b }) => ops.sub(a!, b!),
    expected: ({ a, b }) =>
      reference.add(
        a!,
        wave(b!, (v) => -v),
      ),
  },
  'a suffix': { inputs: { a: [2, 3, 4], b: [4] }, run: ({ a, b }) => ops.sub(a!, b!) },
});

describeOp('mul', {
  'equal shapes': {
    inputs: { a: [3, 4], b: [3, 4] },
    run: ({ a, b }) => ops.mul(a!, b!),
    expected: ({ a, b }) => a!.map((v, i) => v * b!.data[i]!),
  },
  'a suffix': { inputs: { a: [5, 2, 3], b: [2, 3] }, run: ({ a, b }) => ops.mul(a!, b!) },
  'one element': { inputs: { a: [5, 3], b: [1] }, run: ({ a, b }) => ops.mul(a!, b!) },
  'a tensor with itself': { inputs: { a: [7] }, run: ({ a }) => ops.mul(a!, a!) },
});

describeOp('scale', {
  'by a constant': {
    inputs: { x: [2, 5] },
    run: ({ x }) => ops.scale(x!, -1.5),
    expected: ({ x }) => wave(x!, (v) => -1.5 * v),
  },
});

describeOp('unary', {
  gelu: {
    inputs: { x: [4, 9] },
    run: ({ x }) => ops.gelu(x!),
    expected: ({ x }) => wave(x!, reference.gelu),
  },
  relu: {
    inputs: { x: { shape: [40], awayFromZero: 0.1 } },
    run: ({ x }) => ops.relu(x!),
    expected: ({ x }) => wave(x!, (v) => Math.max(0, v)),
  },
  tanh: { inputs: { x: [40] }, run: ({ x }) => ops.tanh(x!), expected: ({ x }) => wave(x!, Math.tanh) },
  sigmoid: {
    inputs: { x: [40] },
    run: ({ x }) => ops.sigmoid(x!),
    expected: ({ x }) => wave(x!, (v) => 1 / (1 + Math.exp(-v))),
  },
  exp: { inputs: { x: [40] }, run: ({ x }) => ops.exp(x!), expected: ({ x }) => wave(x!, Math.exp) },
  log: {
    inputs: { x: { shape: [40], range: [0.5, 3] } },
    run: ({ x }) => ops.log(x!),
    expected: ({ x }) => wave(x!, Math.log),
  },
  sqrt: {
    inputs: { x: { shape: [40], range: [0.5, 3] } },
    run: ({ x }) => ops.sqrt(x!),
    expected: ({ x }) => wave(x!, Math.sqrt),
  },
  square: {
    inputs: { x: [40] },
    run: ({ x }) => ops.square(x!),
    expected: ({ x }) => wave(x!, (v) => v * v),
  },
});

describeOp('reductions', {
  sum: {
    inputs: { x: [3, 5] },
    run: ({ x }) => ops.sum(x!),
    expected: ({ x }) => new Nd([1], [total(15, (i) => x!.data[i]!)]),
  },
  mean: {
    inputs: { x: [3, 5] },
    run: ({ x }) => ops.mean(x!),
    expected: ({ x }) => new Nd([1], [total(15, (i) => x!.data[i]!) / 15]),
  },
  'meanTokens, skipping one': {
    inputs: { x: [2, 5, 3] },
    run: ({ x }) => ops.meanTokens(x!, 1),
    expected: ({ x }) => Nd.build([2, 3], (b, d) => total(4, (t) => x!.at(b, t + 1, d)) / 4),
  },
  softmax: {
    inputs: { x: [4, 7] },
    run: ({ x }) => ops.softmax(x!),
    expected: ({ x }) => reference.softmax(x!),
  },
  logSoftmax: {
    inputs: { x: [2, 3, 7] },
    run: ({ x }) => ops.logSoftmax(x!),
    expected: ({ x }) => wave(reference.softmax(x!), Math.log),
  },
});

const product = (a: Nd, b: Nd) => {
  const [n, m, kk] = a.shape as [number, number, number];
  return Nd.build([n, m, b.shape[2]!], (s, i, j) => total(kk, (c) => a.at(s, i, c) * b.at(s, c, j)));
};
const swap = (a: Nd) => Nd.build([a.shape[0]!, a.shape[2]!, a.shape[1]!], (s, i, j) => a.at(s, j, i));

describeOp('matmul', {
  plain: {
    inputs: { a: [2, 3, 4], b: [2, 4, 5] },
    run: ({ a, b }) => ops.matmul(a!, b!, { alpha: 0.5 }),
    expected: ({ a, b }) => wave(product(a!, b!), (v) => 0.5 * v),
  },
  'a transposed': {
    inputs: { a: [2, 4, 3], b: [2, 4, 5] },
    run: ({ a, b }) => ops.matmul(a!, b!, { transA: true }),
    expected: ({ a, b }) => product(swap(a!), b!),
  },
  'b transposed': {
    inputs: { a: [2, 3, 4], b: [2, 5, 4] },
    run: ({ a, b }) => ops.matmul(a!, b!, { transB: true }),
    expected: ({ a, b }) => product(a!, swap(b!)),
  },
  'both transposed': {
    inputs: { a: [2, 4, 3], b: [2, 5, 4] },
    run: ({ a, b }) => ops.matmul(a!, b!, { transA: true, transB: true }),
    expected: ({ a, b }) => product(swap(a!), swap(b!)),
  },
  'a matrix shared by the batch': {
    inputs: { a: [3, 2, 4], b: [4, 5] },
    run: ({ a, b }) => ops.matmul(a!, b!),
  },
  'a shared matrix, transposed': {
    inputs: { a: [3, 2, 4], b: [5, 4] },
    run: ({ a, b }) => ops.matmul(a!, b!, { transB: true }),
  },
});

describeOp('layout', {
  reshape: {
    inputs: { x: [2, 6] },
    run: ({ x }) => ops.square(ops.reshape(x!, [3, -1])),
    expected: ({ x }) => wave(x!, (v) => v * v).reshape([3, 4]),
  },
  transpose: {
    inputs: { x: [2, 3, 4] },
    run: ({ x }) => ops.transpose(x!, [2, 0, 1]),
    expected: ({ x }) => Nd.build([4, 2, 3], (i, j, l) => x!.at(j, l, i)),
  },
  'slice of the middle dimension': {
    inputs: { x: [2, 5, 3] },
    run: ({ x }) => ops.slice(x!, 1, 1, 3),
    expected: ({ x }) => Nd.build([2, 3, 3], (i, j, l) => x!.at(i, j + 1, l)),
  },
  concat: {
    inputs: { a: [2, 1, 3], b: [2, 4, 3] },
    run: ({ a, b }) => ops.concat([a!, b!, a!], 1),
    expected: ({ a, b }) =>
      Nd.build([2, 6, 3], (i, j, l) => (j === 0 || j === 5 ? a!.at(i, 0, l) : b!.at(i, j - 1, l))),
  },
  repeatRows: {
    inputs: { x: [2, 3] },
    run: ({ x }) => ops.repeatRows(x!, 3),
    expected: ({ x }) => Nd.build([6, 3], (r, c) => x!.at(Math.floor(r / 3), c)),
  },
  scaleRows: {
    inputs: { x: [3, 2, 2] },
    run: ({ x }) =>
      ops.scaleRows(x!, fromArray(Float32Array.of(0, 2, -1), [3], { dtype: 'f32', device: x!.device })),
    expected: ({ x }) => Nd.build([3, 2, 2], (r, i, j) => [0, 2, -1][r]! * x!.at(r, i, j)),
  },
});

describeOp('dropout', {
  'with a fixed key': { inputs: { x: [10, 10] }, run: ({ x }) => ops.dropout(x!, 0.3, key) },
  'nothing to drop': { inputs: { x: [10] }, run: ({ x }) => ops.dropout(ops.scale(x!, 2), 0, key) },
});

describeOp('instanceNorm', {
  'over time per channel': {
    inputs: { x: [2, 7, 3] },
    run: ({ x }) => ops.instanceNorm(x!),
    expected: ({ x }) => {
      const turned = Nd.build([2, 3, 7], (b, c, t) => x!.at(b, t, c));
      const y = reference.layerNorm(turned, 1e-5);
      return Nd.build([2, 7, 3], (b, t, c) => y.at(b, c, t));
    },
  },
});
