import { describeOp } from '../testing/describe-op.js';
import * as reference from '../testing/reference.js';
import * as ops from './ops.js';

type Options = { stride: number[]; padding: [number, number][]; groups: number };
const conv = (rank: 1 | 2, x: number[], w: number[], options: Options, bias = true) => ({
  inputs: { x, w, ...(bias && { b: [w[0]!] }) } as Record<string, number[]>,
  run: (t: Record<string, Parameters<typeof ops.conv>[0]>) => ops.conv(t.x!, t.w!, t.b ?? null, options),
  expected: (n: Record<string, Parameters<typeof reference.conv1d>[0]>) =>
    rank === 1 ? reference.conv1d(n.x!, n.w!, n.b, options) : reference.conv2d(n.x!, n.w!, n.b, options),
});

describeOp('conv over time', {
  plain: conv(1, [2, 9, 4], [6, 4, 3], { stride: [1], padding: [[0, 0]], groups: 1 }),
  'one channel, long kernel, stride': conv(
    1,
    [2, 41, 1],
    [8, 1, 10],
    { stride: [5], padding: [[0, 0]], groups: 1 },
    false,
  ),
  'stride 2': conv(1, [2, 12, 4], [4, 4, 2], { stride: [2], padding: [[0, 0]], groups: 1 }, false),
  'grouped, same': conv(1, [2, 7, 8], [8, 2, 3], { stride: [1], padding: [[1, 1]], groups: 4 }),
  'an even kernel drops the last output': conv(1, [2, 7, 4], [4, 2, 4], {
    stride: [1],
    padding: [[2, 1]],
    groups: 2,
  }),
  'kernel longer than the sequence': conv(1, [1, 3, 4], [4, 4, 9], {
    stride: [1],
    padding: [[4, 4]],
    groups: 1,
  }),
  'groups and stride': conv(1, [1, 11, 6], [12, 2, 4], { stride: [3], padding: [[1, 2]], groups: 3 }),
  depthwise: conv(1, [2, 6, 4], [4, 1, 3], { stride: [1], padding: [[1, 1]], groups: 4 }),
});

describeOp('conv over a grid', {
  plain: conv(2, [2, 5, 6, 3], [4, 3, 3, 3], {
    stride: [1, 1],
    padding: [
      [0, 0],
      [0, 0],
    ],
    groups: 1,
  }),
  'grouped, same': conv(2, [2, 4, 5, 8], [8, 4, 3, 3], {
    stride: [1, 1],
    padding: [
      [1, 1],
      [1, 1],
    ],
    groups: 2,
  }),
  'widths that grow': conv(2, [1, 4, 4, 8], [16, 2, 5, 5], {
    stride: [1, 1],
    padding: [
      [2, 2],
      [2, 2],
    ],
    groups: 4,
  }),
  patches: conv(2, [2, 8, 8, 3], [5, 3, 4, 4], {
    stride: [4, 4],
    padding: [
      [0, 0],
      [0, 0],
    ],
    groups: 1,
  }),
  'different strides and sides': conv(2, [1, 7, 6, 2], [4, 2, 2, 3], {
    stride: [2, 1],
    padding: [
      [1, 0],
      [0, 2],
    ],
    groups: 1,
  }),
  'an even kernel': conv(2, [1, 5, 5, 4], [4, 2, 2, 2], {
    stride: [1, 1],
    padding: [
      [1, 0],
      [1, 0],
    ],
    groups: 2,
  }),
});
