import { describe, expect, test } from 'vitest';
import * as k from '../index.js';
import {
  clean,
  down,
  erf,
  expectClose,
  FLOATS,
  type Float,
  gelu,
  geluSlope,
  nd,
  random,
  same,
  sizeOf,
  up,
} from '../test-support/nd.js';

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const UNARY: Record<k.UnaryName, [(x: number) => number, (x: number) => number]> = {
  gelu: [gelu, geluSlope],
  relu: [(x) => Math.max(0, x), (x) => (x > 0 ? 1 : 0)],
  tanh: [Math.tanh, (x) => 1 - Math.tanh(x) ** 2],
  sigmoid: [sigmoid, (x) => sigmoid(x) * (1 - sigmoid(x))],
  exp: [Math.exp, Math.exp],
  log: [Math.log, (x) => 1 / x],
  sqrt: [Math.sqrt, (x) => 0.5 / Math.sqrt(x)],
  square: [(x) => x * x, (x) => 2 * x],
};
const SHAPES = [[], [1], [7], [3, 5, 11], [2, 33, 130], [40000]];

test('the naive erf is right', () => {
  expect(erf(0.5)).toBeCloseTo(0.5204998778130465, 14);
  expect(erf(2)).toBeCloseTo(0.9953222650189527, 14);
  expect(erf(-3.5)).toBeCloseTo(-0.9999992569016276, 14);
});

describe.each(FLOATS)('elementwise in %s', (dtype: Float) => {
  test.each(Object.keys(UNARY) as k.UnaryName[])('%s and its gradient', (name) =>
    clean(() => {
      const [f, slope] = UNARY[name];
      const positive = name === 'log' || name === 'sqrt';
      for (const shape of SHAPES) {
        const x = random(shape, 1, 5);
        if (positive)
          x.data.forEach((v, i) => {
            x.data[i] = Math.abs(v) + 0.125;
          });
        const exact = positive ? down(up(x, dtype)) : x;
        const tx = up(exact, dtype, 1);
        const y = k.unary(name, tx);
        expectClose(
          y,
          nd(shape, (i) => f(exact.data[i]!)),
        );
        const dy = random(shape, 2);
        const rounded = down(y);
        // The slope of some is taken at the rounded result.
        const expected = nd(shape, (i) => {
          const v = rounded.data[i]!;
          if (name === 'tanh') return dy.data[i]! * (1 - v * v);
          if (name === 'sigmoid') return dy.data[i]! * v * (1 - v);
          if (name === 'exp') return dy.data[i]! * v;
          if (name === 'sqrt') return (dy.data[i]! * 0.5) / v;
          return dy.data[i]! * slope(exact.data[i]!);
        });
        expectClose(k.unaryBackward(name, up(dy, dtype), tx, y), expected);
      }
    })(),
  );

  test(
    'add, sub, mul with equal, suffix and single shapes',
    clean(() => {
      for (const [shape, other] of [
        [[], []],
        [[5], [1]],
        [[5], []],
        [
          [2, 3, 7],
          [2, 3, 7],
        ],
        [[2, 3, 7], [7]],
        [
          [2, 3, 7],
          [3, 7],
        ],
        [[50, 801], [801]],
        [[40000], [40000]],
        [[40000], [1]],
      ]) {
        const a = random(shape!, 1);
        const b = random(other!, 2);
        const n = b.data.length;
        const [ta, tb] = [up(a, dtype, 1), up(b, dtype, 3)];
        expectClose(
          k.add(ta, tb),
          nd(shape!, (i) => a.data[i]! + b.data[i % n]!),
        );
        expectClose(
          k.sub(ta, tb),
          nd(shape!, (i) => a.data[i]! - b.data[i % n]!),
        );
        expectClose(
          k.mul(ta, tb),
          nd(shape!, (i) => a.data[i]! * b.data[i % n]!),
        );
        const sums = nd(other!);
        a.data.forEach((v, i) => {
          sums.data[i % n]! += v;
        });
        expectClose(k.sumTo(ta, other!), sums, dtype === 'f32' ? 1e-5 : undefined);
      }
      expect(() => k.add(k.zeros([2, 3]), k.zeros([2]))).toThrow('add: b: shape [2] is neither');
    }),
  );

  test(
    'scale, axpy, rows, sums',
    clean(() => {
      for (const shape of SHAPES) {
        const x = random(shape, 1);
        const y = random(shape, 2);
        expectClose(
          k.scale(up(x, dtype, 1), -1.5),
          nd(shape, (i) => -1.5 * x.data[i]!),
        );
        const t = up(x, dtype, 1);
        k.scale_(t, 2);
        expectClose(
          t,
          nd(shape, (i) => 2 * x.data[i]!),
        );
        k.scale_(t, k.full([1], 0.5));
        expectClose(t, x);
        k.scale_(t, 2);
        k.axpy_(t, 0.5, up(y, dtype));
        expectClose(
          t,
          nd(shape, (i) => 2 * x.data[i]! + 0.5 * y.data[i]!),
        );
        const total = x.data.reduce((a, b) => a + b, 0);
        const squares = x.data.reduce((a, b) => a + b * b, 0);
        expect(k.item(k.sum(up(x, dtype, 1)))).toBeCloseTo(total, 8);
        expect(k.item(k.sumSquares(up(x, dtype, 1)))).toBeCloseTo(squares, 8);
        if (shape.length === 0) continue;
        const s = random([shape[0]!], 3);
        const inner = sizeOf(shape) / shape[0]!;
        expectClose(
          k.scaleRows(up(x, dtype), up(s)),
          nd(shape, (i) => x.data[i]! * s.data[Math.floor(i / inner)]!),
        );
      }
    }),
  );

  test(
    'mean over tokens',
    clean(() => {
      for (const [b, t, d, skip] of [
        [1, 1, 1, 0],
        [2, 5, 7, 1],
        [3, 50, 300, 2],
      ] as const) {
        const x = random([b, t, d], 1);
        const dy = random([b, d], 2);
        const expected = nd([b, d], (i) => {
          let sum = 0;
          for (let j = skip; j < t; j++) sum += x.data[(Math.floor(i / d) * t + j) * d + (i % d)]!;
          return sum / (t - skip);
        });
        expectClose(k.meanTokens(up(x, dtype, 1), skip), expected);
        expectClose(
          k.meanTokensBackward(up(dy, dtype), [b, t, d], skip),
          nd([b, t, d], (i) =>
            Math.floor(i / d) % t < skip ? 0 : dy.data[Math.floor(i / d / t) * d + (i % d)]! / (t - skip),
          ),
        );
      }
    }),
  );

  test(
    'softmax',
    clean(() => {
      for (const [rows, d] of [
        [1, 1],
        [3, 5],
        [7, 33],
        [4, 1000],
        [5, 16],
      ] as const) {
        const x = random([rows, d], 1, 8);
        const dy = random([rows, d], 2);
        const logs = nd([rows, d]);
        for (let r = 0; r < rows; r++) {
          const row = x.data.subarray(r * d, (r + 1) * d);
          const most = Math.max(...row);
          const logSum = most + Math.log(row.reduce((s, v) => s + Math.exp(v - most), 0));
          for (let c = 0; c < d; c++) logs.data[r * d + c] = row[c]! - logSum;
        }
        const p = nd([rows, d], (i) => Math.exp(logs.data[i]!));
        expectClose(k.softmax(up(x, dtype, 1)), p);
        expectClose(k.logSoftmax(up(x, dtype, 1)), logs);
        const exact = down(up(p, dtype));
        const dx = nd([rows, d], (i) => {
          const r = Math.floor(i / d);
          let dot = 0;
          for (let c = 0; c < d; c++) dot += exact.data[r * d + c]! * dy.data[r * d + c]!;
          return exact.data[i]! * (dy.data[i]! - dot);
        });
        expectClose(k.softmaxBackward(up(dy, dtype), up(exact, dtype, 1)), dx);
      }
    }),
  );
});

describe('special values', () => {
  const inf = Number.POSITIVE_INFINITY;
  const values = [Number.NaN, inf, -inf, 0, -0, 1e-30, -1e-30, 100, -100, 88.7, -87.4, 3e38, -3e38];

  test.each([
    ['gelu', gelu],
    ['relu', UNARY.relu[0]],
    ['tanh', Math.tanh],
    ['sigmoid', sigmoid],
    ['exp', Math.exp],
    ['sqrt', Math.sqrt],
    ['log', Math.log],
    ['square', (x: number) => x * x],
  ] as const)('%s', (name, f) =>
    clean(() => {
      const y = down(k.unary(name, up(nd([values.length], (i) => values[i]!))));
      values.forEach((v, i) => {
        const exact = v === -inf && name === 'gelu' ? 0 : f(Math.fround(v));
        const want = Math.abs(exact) < 1e-37 ? 0 : Math.fround(exact);
        const got = y.data[i]!;
        const close =
          Math.abs(got - want) <= 2e-6 * Math.max(1e-30, Math.abs(want)) || Math.abs(got - want) < 2e-37;
        expect(
          Object.is(got, want) || got === want || close,
          `${name}(${v}) = ${got}, expected ${want}`,
        ).toBe(true);
      });
    })(),
  );

  test(
    'softmax of -inf and NaN',
    clean(() => {
      const rows = nd([2, 3], (i) => [-inf, 0, -inf, Number.NaN, 1, 2][i]!);
      const y = down(k.softmax(up(rows)));
      expect([...y.data.subarray(0, 3)]).toEqual([0, 1, 0]);
      expect(Number.isNaN(y.data[3]) && Number.isNaN(y.data[4]) && Number.isNaN(y.data[5])).toBe(true);
    }),
  );
});

test(
  'dropout keeps its share and scales the rest',
  clean(() => {
    const n = 100_003;
    const key = { seed: 5, update: 1, stream: 2 };
    const x = k.full([n], 2);
    const y = down(k.dropout(x, 0.25, key));
    const dropped = y.data.reduce((count, v) => count + (v === 0 ? 1 : 0), 0);
    expect(dropped / n).toBeCloseTo(0.25, 2);
    expect(y.data.every((v) => v === 0 || Math.abs(v - 2 / 0.75) < 1e-6)).toBe(true);
    expect(same(k.bytes(k.dropout(x, 0.25, key)), k.bytes(k.fromArray(y.data, [n])))).toBe(true);
    expect(same(k.bytes(k.dropout(x, 0.25, { ...key, stream: 3 })), k.bytes(k.fromArray(y.data, [n])))).toBe(
      false,
    );
    expect(same(k.bytes(k.dropout(x, 0, key)), k.bytes(x))).toBe(true);
  }),
);

test(
  'sums do not depend on the number of threads',
  clean(() => {
    const { threads } = k.deviceInfo();
    const x = k.empty([1_000_003]);
    const results = [1, 2, 3, 5].map((n) => {
      k.setThreads(n);
      k.normal_(x, 0, 1, { seed: 1, update: 2, stream: 3 });
      const y = k.dropout(x, 0.5, { seed: 1, update: 2, stream: 4 });
      return [k.sum(x), k.sumSquares(x), k.sum(y), k.sum(k.sumTo(x.view(0, [1000, 1000]), [1000]))].map(
        k.item,
      );
    });
    k.setThreads(threads);
    for (const result of results) expect(result).toEqual(results[0]);
  }),
);
