/** What a user reads who gives an op something wrong. */
import { expect, test } from 'vitest';
import * as k from './index.js';

const [x, w, ids] = [k.zeros([2, 3, 8]), k.zeros([4, 8]), k.zeros([2, 3], 'i32')];
const gone = k.zeros([2, 3]);
gone.dispose();
// biome-ignore lint/suspicious/noExplicitAny: wrong types are the point
const any = (value: unknown): any => value;

const CASES: [() => unknown, string][] = [
  [
    () => k.linear(x, k.zeros([4, 7])),
    'linear: w: expected shape [*, 8] for x of shape [2, 3, 8], got [4, 7]',
  ],
  [() => k.linear(x, w, k.zeros([5])), 'linear: bias: expected shape [4], got [5]'],
  [() => k.linear(x, gone), 'linear: w: the tensor f32[2, 3] is disposed'],
  [() => k.linear(x, ids), 'linear: w: expected dtype f32 or bf16, got i32 (shape [2, 3])'],
  [() => k.linear(any(3), w), 'linear: x: expected a tensor, got 3'],
  [
    () => k.linear(x, w, null, any({ act: 'gelu' })),
    "linear: unknown option 'act'; known options: activation, savePre",
  ],
  [
    () => k.linear(x, w, null, any({ activation: 'relu' })),
    "linear: activation: expected one of 'none', 'gelu', got \"relu\"",
  ],
  [() => k.linear(x, w, null, any(x)), 'linear: options: expected an object, got a tensor f32[2, 3, 8]'],
  [() => k.linear(k.zeros([]), w), 'linear: x: expected 1 to 8 dimensions, got shape []'],
  [
    () => k.linearGradInput(x, w),
    'linearGradInput: w: expected shape [8, *] for dy of shape [2, 3, 8], got [4, 8]',
  ],
  [
    () => k.linearGradInput(x, k.zeros([8, 8]), { accumulate: x }),
    'linearGradInput: accumulate: shares memory with dy',
  ],
  [
    () => k.linearGradWeight_(k.zeros([8, 8], 'bf16'), x, x),
    'linearGradWeight_: dw: expected dtype f32, got bf16 (shape [8, 8])',
  ],
  [
    () => k.linearGradWeight_(k.zeros([8, 8]), k.zeros([5, 8]), x),
    'linearGradWeight_: x: expected as many rows as dy of shape [5, 8], got shape [2, 3, 8]',
  ],
  [
    () => k.matmul(x, k.zeros([3, 8, 1])),
    "matmul: b: leading dimensions of shape [3, 8, 1] do not match a's shape [2, 3, 8]",
  ],
  [() => k.layerNorm(x, any({})), 'layerNorm: eps: expected a number, got undefined'],
  [() => k.layerNorm(x, { eps: -1 }), 'layerNorm: eps: expected a number from 0 to 1e+06, got -1'],
  [
    () => k.layerNorm(x, { eps: 1e-5, residual: w }),
    'layerNorm: residual: expected shape [2, 3, 8], got [4, 8]',
  ],
  [
    () => k.attention(x, null, { heads: 3 }),
    'attention: q: packed q, k, v must be [B, T, 3*D], got [2, 3, 8]',
  ],
  [() => k.attention(x, x, { heads: 2 }), 'attention: kv: expected shape [2, 3, 16], got [2, 3, 8]'],
  [
    () => k.attention(k.zeros([1, 2, 24]), null, { heads: 3 }),
    'attention: heads: 3 heads do not divide the width 8',
  ],
  [
    () => k.attention(k.zeros([1, 2, 24]), null, { heads: 2, dropout: 0.5 }),
    'attention: key: expected {seed, update, stream}, got undefined',
  ],
  [
    () => k.attention(k.zeros([1, 2, 24]), null, { heads: 2, keyPadding: k.zeros([1, 2]) }),
    'attention: keyPadding: expected dtype u8, got f32 (shape [1, 2])',
  ],
  [
    () => k.attention(k.zeros([1, 2, 24]), null, { heads: 2, alibi: any(5) }),
    'attention: alibi: expected {slopes',
  ],
  [
    () => k.conv(x, k.zeros([4, 3, 3]), null, { groups: 2 }),
    'conv: w: expected 4 input channels per group (shape [2, 3, 8] with 2 groups), got shape [4, 3, 3]',
  ],
  [
    () => k.conv(x, k.zeros([4, 8, 9])),
    'conv: w: kernel of shape [4, 8, 9] is larger than the padded input of shape [2, 3, 8]',
  ],
  [
    () => k.conv(x, k.zeros([4, 8, 1]), null, { groups: 3 }),
    'conv: groups: 3 groups do not divide 8 input and 4 output channels',
  ],
  [() => k.conv(x, k.zeros([4, 8, 1]), null, { stride: [1, 1] }), 'conv: stride: expected 1 numbers, got 2'],
  [
    () => k.conv(x, k.zeros([4, 8, 1]), null, { padding: any([1]) }),
    'conv: padding: expected an array of integers, got 1',
  ],
  [
    () => k.gatherTokens(x, k.full([4, 2], 3, 'i32')),
    'gatherTokens: ids: value 3 at element 0 is outside [0, 3)',
  ],
  [
    () => k.gatherTokens(x, k.full([3, 2], 0, 'i32')),
    'gatherTokens: ids: expected a multiple of 2 rows, got shape [3, 2]',
  ],
  [
    () =>
      k.restoreTokens(x, k.full([2, 5], -1, 'i32'), 1, { std: 1, key: { seed: 0, update: 0, stream: 0 } }),
    'restoreTokens: restore: value -1 at element 0 is outside [0, 5)',
  ],
  [
    () => k.restoreTokens(x, k.zeros([2, 1], 'i32'), 1, x),
    'restoreTokens: restore: has 1 places for 2 kept tokens',
  ],
  [() => k.embedding(k.full([3], 4, 'i32'), w), 'embedding: ids: value 4 at element 0 is outside [0, 4)'],
  [
    () => k.crossEntropy(w, k.full([4], -1, 'i32')),
    'crossEntropy: labels: value -1 at element 0 is outside [0, 8)',
  ],
  [
    () => k.crossEntropy(w, k.full([4], -1, 'i32'), { ignore: -2 }),
    'crossEntropy: labels: value -1 at element 0 is outside [0, 8)',
  ],
  [() => k.maskedLoss(x, x, k.zeros([2, 4], 'i32')), 'maskedLoss: ids: expected shape [2, 3], got [2, 4]'],
  [() => k.slice(x, 3, 0, 1), 'slice: dim: expected an integer from -3 to 2, got 3'],
  [() => k.slice(x, 1, 1, 3), 'slice: length: expected an integer from 1 to 2, got 3'],
  [() => k.concat([], 0), 'concat: tensors: expected an array of 1 to 4096 tensors'],
  [() => k.concat([x, w], 0), 'concat: tensors[1]: expected 3 dimensions, got shape [4, 8]'],
  [
    () => k.transpose(x, [0, 1, 1]),
    'transpose: perm: expected a permutation of the 3 dimensions of shape [2, 3, 8]',
  ],
  [() => k.zeros([2, 0]), 'zeros: shape[1]: expected an integer >= 1, got 0'],
  [() => k.zeros([1, 1, 1, 1, 1, 1, 1, 1, 1]), 'zeros: shape: expected at most 8 dimensions, got 9'],
  [() => k.zeros(any(5)), 'zeros: shape: expected an array of integers, got 5'],
  [
    () => k.zeros([2], any('f8')),
    "zeros: dtype: expected one of 'f32', 'bf16', 'f16', 'i32', 'i64', 'u8', 'f64', got \"f8\"",
  ],
  [() => k.zeros([2], 'f32', 'cuda:0'), 'zeros: device: device "cuda:0" is not available; available: cpu'],
  [() => k.full([2], any('1')), 'full: value: expected a number, got "1"'],
  [() => k.item(x), 'item: t: expected one element, got shape [2, 3, 8]'],
  [() => k.unary(any('sin'), x), "unary: name: expected one of 'gelu'"],
  [
    () => k.dropout(x, 1, { seed: 0, update: 0, stream: 0 }),
    'dropout: p: expected a number from 0 to 0.999999, got 1',
  ],
  [
    () => k.dropout(x, 0.5, { seed: -1, update: 0, stream: 0 }),
    'dropout: key.seed: expected an integer >= 0, got -1',
  ],
  [
    () => k.normal_(x, 0, 1, { seed: 0, update: 2 ** 32, stream: 0 }),
    'normal_: key.update: expected an integer from 0 to 4294967295, got 4294967296',
  ],
  [
    () => k.normal_(ids, 0, 1, { seed: 0, update: 0, stream: 0 }),
    'normal_: t: expected dtype f32 or bf16, got i32',
  ],
  [() => k.unary('exp', k.zeros([2], 'f16')), 'unary: x: expected dtype f32 or bf16, got f16 (shape [2])'],
  [() => k.ema_(w, x, 0.5), 'ema_: student: expected shape [4, 8], got [2, 3, 8]'],
  [() => k.setThreads(0), 'setThreads: threads: expected an integer from 1 to 1024, got 0'],
  [() => k.memoryStats('tpu'), 'memoryStats: device: device "tpu" is not available'],
];

test.each(CASES)('%#: %s', (call, message) => {
  let thrown: unknown;
  k.scope(() => {
    try {
      call();
    } catch (error) {
      thrown = error;
    }
  });
  expect(thrown).toBeInstanceOf(Error);
  expect((thrown as Error).message).toContain(message);
  expect((thrown as { code?: string }).code).toMatch(/^D2V_(ARGUMENT|DISPOSED|OUT_OF_MEMORY)$/);
});

test('an exception of the caller’s own getter comes through', () => {
  const options = {
    get eps(): number {
      throw new RangeError('mine');
    },
  };
  expect(() => k.layerNorm(x, options)).toThrow(RangeError);
});

test('a getter that disposes the arguments does no harm', () => {
  const t = k.zeros([1000, 8]);
  const options = {
    get eps(): number {
      t.dispose();
      k.emptyCache();
      return 1e-5;
    },
  };
  k.scope(() => k.layerNorm(t, options).y.shape);
  expect(t.disposed).toBe(true);
});
