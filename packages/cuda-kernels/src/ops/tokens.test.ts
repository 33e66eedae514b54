import { describe, expect, test } from 'vitest';
import * as k from '../index.js';
import {
  clean,
  down,
  expectClose,
  FLOATS,
  type Float,
  generator,
  ints,
  nd,
  random,
  randomInts,
  sizeOf,
  up,
} from '../test-support/nd.js';

/** Kept positions and the inverse permutation of R rows of T tokens, K of them kept. */
function masks(rows: number, t: number, kept: number, seed: number) {
  const next = generator(seed);
  const keep = new Int32Array(rows * kept);
  const restore = new Int32Array(rows * t);
  for (let r = 0; r < rows; r++) {
    const order = Array.from({ length: t }, (_, i) => i);
    for (let i = t - 1; i > 0; i--) {
      const j = Math.floor(next() * (i + 1));
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    for (let i = 0; i < t; i++) {
      restore[r * t + order[i]!] = i;
      if (i < kept) keep[r * kept + i] = order[i]!;
    }
  }
  return { keep, restore };
}

const SIZES = [
  { b: 1, m: 1, t: 1, kept: 1, e: 1, d: 1 },
  { b: 2, m: 3, t: 9, kept: 4, e: 1, d: 8 },
  { b: 3, m: 2, t: 17, kept: 5, e: 2, d: 33 },
  { b: 1, m: 4, t: 64, kept: 12, e: 1, d: 300 },
];

describe.each(FLOATS)('tokens in %s', (dtype: Float) => {
  test.each(SIZES)('gather: $b x $m x $t x $d', ({ b, m, t, kept, e, d }) =>
    clean(() => {
      const rows = b * m;
      const { keep } = masks(rows, t, kept, 1);
      if (kept > 1) keep[1] = keep[0]!; // an id may repeat
      const x = random([b, t, d], 1);
      const prefix = random([e, d], 2);
      const width = e + kept;
      const source = (i: number): number => {
        const slot = Math.floor(i / d) % width;
        const r = Math.floor(i / d / width);
        return (Math.floor(r / m) * t + keep[r * kept + slot - e]!) * d + (i % d);
      };
      const isPrefix = (i: number): boolean => Math.floor(i / d) % width < e;
      const within = (i: number): number => i % (width * d);
      const expected = nd([rows, width, d], (i) =>
        isPrefix(i) ? prefix.data[within(i)]! : x.data[source(i)]!,
      );
      const ids = ints(keep, [rows, kept]);
      expectClose(k.gatherTokens(up(x, dtype, 1), ids, up(prefix, dtype)), expected, 0);

      const dy = random([rows, width, d], 3);
      const dx = nd([b, t, d]);
      const dPrefix = random([e, d], 4);
      const start = up(dPrefix, 'f32', 1);
      dy.data.forEach((g, i) => {
        if (isPrefix(i)) dPrefix.data[within(i)]! += g;
        else dx.data[source(i)]! += g;
      });
      expectClose(k.gatherTokensBackward(up(dy, dtype), ids, [b, t, d], start), dx);
      expectClose(start, dPrefix, 1e-5);
      // Without prefix, and without ids.
      expectClose(k.gatherTokens(up(x, dtype), null), x, 0);
      expect(k.gatherTokens(up(x, dtype), null, up(prefix, dtype)).shape).toEqual([b, e + t, d]);
      const all = random([b, e + t, d], 5);
      const rest = nd([b, t, d], (i) => all.data[(Math.floor(i / d / t) * (e + t) + e) * d + (i % (t * d))]!);
      expectClose(k.gatherTokensBackward(up(all, dtype), null, [b, t, d]), rest, 0);
    })(),
  );

  test.each(SIZES)('restore: $b x $m x $t x $d', ({ b, m, t, kept, e, d }) =>
    clean(() => {
      const rows = b * m;
      const { restore } = masks(rows, t, kept, 2);
      const x = random([rows, e + kept, d], 1);
      const ids = ints(restore, [rows, t]);
      const from = (i: number): number => {
        const r = Math.floor(i / d / t);
        return (r * (e + kept) + e + restore[Math.floor(i / d)]!) * d + (i % d);
      };
      const isKept = (i: number): boolean => restore[Math.floor(i / d)]! < kept;
      const key = { seed: 3, update: 2, stream: 1 };
      const masked = t - kept;
      const drawn = k.empty([rows, Math.max(1, masked), d]);
      k.normal_(drawn, 0, 0.01, key);
      const noise = masked > 0 ? down(drawn) : nd([0]);
      const noiseAt = (i: number): number =>
        noise.data[(Math.floor(i / d / t) * masked + restore[Math.floor(i / d)]! - kept) * d + (i % d)]!;
      const expected = nd([rows, t, d], (i) => (isKept(i) ? x.data[from(i)]! : noiseAt(i)));
      expectClose(
        k.restoreTokens(up(x, dtype, 1), ids, e, { std: 0.01, key }),
        expected,
        dtype === 'f32' ? 0 : 2 ** -8,
      );
      if (masked > 0) {
        expectClose(k.restoreTokens(up(x, dtype), ids, e, drawn), expected, dtype === 'f32' ? 0 : 2 ** -8);
      }
      const dy = random([rows, t, d], 4);
      const dx = nd([rows, e + kept, d]);
      dy.data.forEach((g, i) => {
        if (isKept(i)) dx.data[from(i)]! += g;
      });
      expectClose(k.restoreTokensBackward(up(dy, dtype, 3), ids, e, kept), dx, 0);
    })(),
  );

  test(
    'repeat rows',
    clean(() => {
      for (const [b, times, inner] of [
        [1, 1, 1],
        [3, 4, 10],
        [2, 5, 9000],
      ] as const) {
        const x = random([b, inner], 1);
        const dy = random([b * times, inner], 2);
        expectClose(
          k.repeatRows(up(x, dtype, 1), times),
          nd([b * times, inner], (i) => x.data[Math.floor(i / inner / times) * inner + (i % inner)]!),
          0,
        );
        const sums = nd([b, inner]);
        dy.data.forEach((g, i) => {
          sums.data[Math.floor(i / inner / times) * inner + (i % inner)]! += g;
        });
        expectClose(k.repeatRowsBackward(up(dy, dtype, 1), times), sums);
      }
    }),
  );

  test(
    'slice, its gradient and concat',
    clean(() => {
      const x = random([3, 5, 7], 1);
      const tx = up(x, dtype, 1);
      for (const dim of [0, 1, 2, -1, -3]) {
        const axis = dim < 0 ? dim + 3 : dim;
        const n = x.shape[axis]!;
        for (const [start, length] of [
          [0, n],
          [1, n - 1],
          [n - 1, 1],
          [1, 2],
        ] as const) {
          const inner = sizeOf(x.shape.slice(axis + 1));
          const shape = x.shape.with(axis, length);
          const at = (i: number): number =>
            (Math.floor(i / inner / length) * n + start + (Math.floor(i / inner) % length)) * inner +
            (i % inner);
          const expected = nd(shape, (i) => x.data[at(i)]!);
          const part = k.slice(tx, dim, start, length);
          expectClose(part, expected, 0);
          const back = nd(x.shape);
          expected.data.forEach((g, i) => {
            back.data[at(i)] = g;
          });
          expectClose(k.sliceBackward(part, x.shape, dim, start), back, 0);
        }
        const parts = [k.slice(tx, dim, 0, 1), k.slice(tx, dim, 1, 1), k.slice(tx, dim, 2, n - 2 || 1)];
        if (n > 2) expectClose(k.concat(parts, dim), x, 0);
      }
      expectClose(k.concat([tx], 1), x, 0);
    }),
  );

  test(
    'embedding and its gradient',
    clean(() => {
      const [v, d] = [11, 70];
      const ids = randomInts([4, 6], 1, v);
      const table = random([v, d], 2);
      const tids = ints(ids, [4, 6]);
      expectClose(
        k.embedding(tids, up(table, dtype, 1)),
        nd([4, 6, d], (i) => table.data[ids[Math.floor(i / d)]! * d + (i % d)]!),
        0,
      );
      const dy = random([4, 6, d], 3);
      for (const padding of [undefined, ids[3]!]) {
        const grad = random([v, d], 4);
        const start = up(grad, 'f32', 1);
        dy.data.forEach((g, i) => {
          const id = ids[Math.floor(i / d)]!;
          if (id !== padding) grad.data[id * d + (i % d)]! += g;
        });
        k.embeddingGrad_(start, tids, up(dy, dtype), padding);
        expectClose(start, grad, 1e-5);
      }
    }),
  );
});

test(
  'transpose of every dtype',
  clean(() => {
    const shape = [2, 3, 5, 4];
    const source = randomInts(shape, 1, 100);
    for (const dtype of ['f32', 'bf16', 'f16', 'i32', 'i64', 'u8'] as const) {
      const t = k.fromArray(source, shape, { dtype });
      for (const perm of [
        [0, 1, 2, 3],
        [3, 2, 1, 0],
        [0, 2, 1, 3],
        [1, 0, 3, 2],
        [0, 1, 3, 2],
      ]) {
        const y = k.transpose(t, perm);
        const to = perm.map((p) => shape[p]!);
        expect(y.shape).toEqual(to);
        const expected = Array.from({ length: 120 }, (_, i) => {
          const index = [0, 0, 0, 0];
          let rest = i;
          for (let a = 3; a >= 0; a--) {
            index[perm[a]!] = rest % to[a]!;
            rest = Math.floor(rest / to[a]!);
          }
          return source[index.reduce((sum, x, a) => sum * shape[a]! + x, 0)]!;
        });
        expect([...k.toArray(k.cast(y, 'i32'))]).toEqual(expected);
      }
    }
    expect(k.toArray(k.transpose(k.fromArray(source, [120]), [0]))).toEqual(source);
  }),
);
