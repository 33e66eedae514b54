import { describe, expect, test } from 'vitest';
import * as k from '../index.js';
import {
  clean,
  down,
  expectClose,
  FLOATS,
  type Float,
  gelu,
  geluSlope,
  type Nd,
  nd,
  random,
  same,
  up,
} from '../test-support/nd.js';

/** a [m, k] b [k, n], either read transposed. */
function product(a: Nd, b: Nd, transA = false, transB = false): Nd {
  const [m, inner] = transA ? [a.shape[1]!, a.shape[0]!] : [a.shape[0]!, a.shape[1]!];
  const n = transB ? b.shape[0]! : b.shape[1]!;
  return nd([m, n], (i) => {
    const row = Math.floor(i / n);
    const column = i % n;
    let sum = 0;
    for (let e = 0; e < inner; e++) {
      const left = transA ? a.data[e * m + row]! : a.data[row * inner + e]!;
      sum += left * (transB ? b.data[column * inner + e]! : b.data[e * n + column]!);
    }
    return sum;
  });
}

const SIZES = [
  [1, 1, 1],
  [3, 5, 7],
  [17, 33, 9],
  [64, 192, 96],
  [65, 31, 130],
  [2, 300, 1],
  [130, 257, 67],
] as const;

describe.each(FLOATS)('linear in %s', (dtype: Float) => {
  test.each(SIZES)('n %i, k %i, m %i', (n, inner, m) =>
    clean(() => {
      const x = random([n, inner], 1);
      const w = random([m, inner], 2);
      const bias = random([m], 3);
      const plain = product(x, w, false, true);
      const pre = nd([n, m], (i) => plain.data[i]! + bias.data[i % m]!);
      const [tx, tw, tb] = [up(x, dtype, 3), up(w, dtype, 1), up(bias, dtype)];
      expectClose(k.linear(tx, tw).y, plain);
      expect(k.linear(tx, tw).pre).toBeNull();
      expectClose(k.linear(tx, tw, tb).y, pre);
      const both = k.linear(tx, tw, tb, { activation: 'gelu', savePre: true });
      expectClose(both.pre!, pre);
      expectClose(
        both.y,
        nd([n, m], (i) => gelu(pre.data[i]!)),
      );
      expectClose(
        k.linear(tx, tw, null, { activation: 'gelu' }).y,
        nd([n, m], (i) => gelu(plain.data[i]!)),
      );
    })(),
  );

  test.each(SIZES)('gradients: n %i, k %i, m %i', (n, inner, m) =>
    clean(() => {
      const dy = random([n, m], 4);
      const w = random([m, inner], 5);
      const x = random([n, inner], 6);
      const dx = product(dy, w);
      const [tdy, tw, tx] = [up(dy, dtype, 1), up(w, dtype), up(x, dtype, 5)];
      expectClose(k.linearGradInput(tdy, tw), dx);
      const slopes = nd([n, inner], (i) => dx.data[i]! * geluSlope(x.data[i]!));
      expectClose(k.linearGradInput(tdy, tw, { geluPre: tx }), slopes);
      const start = random([n, inner], 7);
      const accumulate = up(start, dtype, 2);
      const returned = k.linearGradInput(tdy, tw, { geluPre: tx, accumulate });
      expect(returned).toBe(accumulate);
      expectClose(
        accumulate,
        nd([n, inner], (i) => slopes.data[i]! + start.data[i]!),
      );

      const dw0 = random([m, inner], 8);
      const db0 = random([m], 9);
      const [dw, db] = [up(dw0, 'f32', 1), up(db0, 'f32', 3)];
      k.linearGradWeight_(dw, tdy, tx, db);
      const full = product(dy, x, true);
      expectClose(
        dw,
        nd([m, inner], (i) => full.data[i]! + dw0.data[i]!),
      );
      const expectedDb = nd([m], (j) => {
        let sum = db0.data[j]!;
        for (let i = 0; i < n; i++) sum += dy.data[i * m + j]!;
        return sum;
      });
      expectClose(db, expectedDb);
      k.linearGradWeight_(dw, tdy, tx);
      expectClose(
        dw,
        nd([m, inner], (i) => 2 * full.data[i]! + dw0.data[i]!),
      );
    })(),
  );

  test(
    'leading dimensions are flattened',
    clean(() => {
      const x = random([2, 3, 4, 8], 1);
      const w = random([5, 8], 2);
      const y = k.linear(up(x, dtype), up(w, dtype)).y;
      expect(y.shape).toEqual([2, 3, 4, 5]);
      expectClose(y.reshape([24, 5]), product({ ...x, shape: [24, 8] }, w, false, true));
      expect(k.linear(up(random([8], 3), dtype), up(w, dtype)).y.shape).toEqual([5]);
      expect(k.linearGradInput(y, up(w, dtype)).shape).toEqual([2, 3, 4, 8]);
    }),
  );
});

describe.each(FLOATS)('matmul in %s', (dtype: Float) => {
  const cases = [false, true].flatMap((a) => [false, true].map((b) => [a, b] as const));
  test.each(cases)('transA %s, transB %s', (transA, transB) =>
    clean(() => {
      for (const [m, inner, n] of SIZES) {
        const as = [0, 1, 2].map((i) => random(transA ? [inner, m] : [m, inner], 10 + i));
        const bs = [0, 1, 2].map((i) => random(transB ? [n, inner] : [inner, n], 20 + i));
        const join = (list: Nd[]): Nd => ({
          shape: [list.length, ...list[0]!.shape],
          data: Float64Array.from(list.flatMap((t) => [...t.data])),
        });
        const options = { transA, transB, alpha: 0.5 };
        const half = (t: Nd): Nd => nd(t.shape, (i) => 0.5 * t.data[i]!);
        const expected = (pick: (i: number) => [Nd, Nd]): Nd =>
          join([0, 1, 2].map((i) => half(product(...pick(i), transA, transB))));
        const [ta, tb] = [up(join(as), dtype), up(join(bs), dtype, 1)];
        expectClose(
          k.matmul(ta, tb, options),
          expected((i) => [as[i]!, bs[i]!]),
        );
        expectClose(
          k.matmul(ta, up(bs[0]!, dtype), options),
          expected((i) => [as[i]!, bs[0]!]),
        );
        expectClose(
          k.matmul(up(as[0]!, dtype), tb, options),
          expected((i) => [as[0]!, bs[i]!]),
        );
        expectClose(
          k.matmul(up(as[0]!, dtype), up(bs[0]!, dtype), options),
          half(product(as[0]!, bs[0]!, transA, transB)),
        );
      }
    })(),
  );
});

test(
  'NaN and infinity come through',
  clean(() => {
    const x = nd([2, 3], (i) => [1, Number.NaN, 2, 3, Number.POSITIVE_INFINITY, 1][i]!);
    const y = down(k.linear(up(x), up(nd([1, 3], () => 1))).y);
    expect(y.data[0]).toBeNaN();
    expect(y.data[1]).toBe(Number.POSITIVE_INFINITY);
  }),
);

test(
  'results are the same from run to run',
  clean(() => {
    const [x, w] = [up(random([200, 190], 1)), up(random([170, 190], 2))];
    const first = k.bytes(k.linear(x, w).y);
    for (let i = 0; i < 3; i++) expect(same(k.bytes(k.linear(x, w).y), first)).toBe(true);
  }),
);
