import { fromArray } from '@d2v/cuda-kernels';
import { describeOp } from '../testing/describe-op.js';
import type { Nd } from '../testing/nd.js';
import * as reference from '../testing/reference.js';
import * as ops from './ops.js';

const key = { seed: 5, update: 3, stream: 9 };
const packed = (x: Nd, width: number, heads: number, score?: Parameters<typeof reference.attention>[4]) =>
  reference.attention(
    reference.columns(x, 0, width),
    reference.columns(x, width, width),
    reference.columns(x, 2 * width, width),
    heads,
    score,
  );

const padding = [0, 0, 0, 1, 0, 0, 1, 1, 0, 0];
const pad = (device: string) => fromArray(Uint8Array.from(padding), [2, 5], { dtype: 'u8', device });

/** Two samples of five tokens; the first token is an extra one. */
const grid = [-1, -1, 0, 0, 0, 2, 1, 0, 2, 2, -1, -1, 3, 1, 0, 1, 2, 0, 1, 1];
const places = (device: string) => fromArray(Int32Array.from(grid), [2, 5, 2], { dtype: 'i32', device });
const at = (b: number, i: number, p: number) => grid[(b * 5 + i) * 2 + p]!;
const distance = (b: number, i: number, j: number, euclidean: boolean) => {
  if (at(b, i, 0) < 0 || at(b, j, 0) < 0) return 0;
  const d = [0, 1].map((p) => Math.abs(at(b, i, p) - at(b, j, p)));
  return euclidean ? Math.hypot(...d) : d[0]! + d[1]!;
};

describeOp('attention', {
  'packed qkv': {
    inputs: { x: [2, 4, 24] },
    run: ({ x }) => ops.attention(x!, null, { heads: 2 }),
    expected: ({ x }) => packed(x!, 8, 2),
  },
  'a longer sequence and an odd head': {
    inputs: { x: [1, 19, 30] },
    run: ({ x }) => ops.attention(x!, null, { heads: 2 }),
    expected: ({ x }) => packed(x!, 10, 2),
  },
  'queries to another sequence': {
    inputs: { q: [2, 3, 8], kv: [2, 5, 16] },
    run: ({ q, kv }) => ops.attention(q!, kv!, { heads: 2 }),
    expected: ({ q, kv }) =>
      reference.attention(q!, reference.columns(kv!, 0, 8), reference.columns(kv!, 8, 8), 2),
  },
  'padded keys': {
    inputs: { x: [2, 5, 24] },
    run: ({ x }) => ops.attention(x!, null, { heads: 2, keyPadding: pad(x!.device) }),
    expected: ({ x }) =>
      packed(x!, 8, 2, (b, _h, _i, j) => (padding[b * 5 + j] ? Number.NEGATIVE_INFINITY : 0)),
  },
  'a sample of only padding': {
    inputs: { x: [2, 2, 12] },
    run: ({ x }) =>
      ops.attention(x!, null, {
        heads: 1,
        keyPadding: fromArray(Uint8Array.of(1, 1, 0, 0), [2, 2], { dtype: 'u8', device: x!.device }),
      }),
    expected: ({ x }) => packed(x!, 4, 1, (b) => (b === 0 ? Number.NEGATIVE_INFINITY : 0)),
  },
  'ALiBi with learned slopes, 2-D Manhattan distances': {
    inputs: { x: [2, 5, 24], slopes: { shape: [2], data: [0.3, 0.7] } },
    run: ({ x, slopes }) => {
      const p = places(x!.device);
      return ops.attention(x!, null, { heads: 2, alibi: { slopes: slopes!, positionsQ: p, positionsK: p } });
    },
    expected: ({ x, slopes }) => packed(x!, 8, 2, (b, h, i, j) => -slopes!.at(h) * distance(b, i, j, false)),
  },
  'ALiBi, euclidean, with padding': {
    inputs: { x: [2, 5, 24], slopes: { shape: [2], data: [0.3, 0.7] } },
    run: ({ x, slopes }) => {
      const p = places(x!.device);
      return ops.attention(x!, null, {
        heads: 2,
        keyPadding: pad(x!.device),
        alibi: { slopes: slopes!, positionsQ: p, positionsK: p, euclidean: true },
      });
    },
    expected: ({ x, slopes }) =>
      packed(x!, 8, 2, (b, h, i, j) =>
        padding[b * 5 + j] ? Number.NEGATIVE_INFINITY : -slopes!.at(h) * distance(b, i, j, true),
      ),
  },
  'a bias shared by the batch': {
    inputs: { x: [2, 4, 24], bias: [2, 4, 4] },
    run: ({ x, bias }) => ops.attention(x!, null, { heads: 2, bias }),
    expected: ({ x, bias }) => packed(x!, 8, 2, (_b, h, i, j) => bias!.at(h, i, j)),
  },
  'a bias per sample, cross attention, own scale': {
    inputs: { q: [2, 3, 8], kv: [2, 5, 16], bias: [2, 2, 3, 5] },
    run: ({ q, kv, bias }) => ops.attention(q!, kv!, { heads: 2, bias, scale: 0.25 }),
    expected: ({ q, kv, bias }) =>
      reference.attention(
        q!.map((v) => v * 0.25 * Math.sqrt(4)),
        reference.columns(kv!, 0, 8),
        reference.columns(kv!, 8, 8),
        2,
        (b, h, i, j) => bias!.at(b, h, i, j),
      ),
  },
  'dropout with a fixed key': {
    inputs: { x: [2, 6, 24] },
    run: ({ x }) => ops.attention(x!, null, { heads: 2, dropout: 0.25, key }),
  },
  'the same tensor as queries and in keys': {
    inputs: { x: [1, 4, 8], w: [16, 8] },
    run: ({ x, w }) => {
      const h = ops.tanh(x!);
      return ops.attention(h, ops.linear(h, w!), { heads: 2 });
    },
  },
});
