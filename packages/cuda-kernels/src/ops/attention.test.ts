import { describe, expect, test } from 'vitest';
import * as k from '../index.js';
import {
  clean,
  distance,
  down,
  expectClose,
  FLOATS,
  type Float,
  ints,
  type Nd,
  nd,
  random,
  randomInts,
  up,
} from '../test-support/nd.js';

interface Problem {
  b: number;
  heads: number;
  tq: number;
  tk: number;
  hd: number;
  q: Nd; // [b, tq, heads * hd]
  kk: Nd;
  v: Nd;
  scale: number;
  padding?: Uint8Array;
  slopes?: Nd;
  posQ?: Int32Array;
  posK?: Int32Array;
  dims?: number;
  euclidean?: boolean;
  bias?: Nd;
  /** Factor of each probability, [b, heads, tq, tk]. */
  drop?: Float64Array;
}

function span(p: Problem, b: number, i: number, j: number): number {
  const dims = p.dims ?? 1;
  const a = p.posQ!.subarray((b * p.tq + i) * dims, (b * p.tq + i + 1) * dims);
  const c = p.posK!.subarray((b * p.tk + j) * dims, (b * p.tk + j + 1) * dims);
  if (a[0]! < 0 || c[0]! < 0) return 0;
  const differences = [...a].map((x, e) => Math.abs(x - c[e]!));
  return p.euclidean ? Math.hypot(...differences) : differences.reduce((x, y) => x + y, 0);
}

/** Forward and, with dout, backward. */
function reference(p: Problem, dout?: Nd) {
  const d = p.heads * p.hd;
  const out = nd([p.b, p.tq, d]);
  const lse = nd([p.b, p.heads, p.tq]);
  const [dq, dk, dv] = [nd(p.q.shape), nd(p.kk.shape), nd(p.v.shape)];
  const dSlopes = nd([p.heads]);
  const dBias = p.bias ? nd(p.bias.shape) : undefined;
  for (let b = 0; b < p.b; b++) {
    for (let h = 0; h < p.heads; h++) {
      for (let i = 0; i < p.tq; i++) {
        const at = (t: number, length: number, e: number): number => (b * length + t) * d + h * p.hd + e;
        const biasAt = (j: number): number =>
          ((p.bias!.shape.length === 4 ? b * p.heads : 0) + h) * p.tq * p.tk + i * p.tk + j;
        const scores = Array.from({ length: p.tk }, (_, j) => {
          if (p.padding?.[b * p.tk + j]) return Number.NEGATIVE_INFINITY;
          let s = 0;
          for (let e = 0; e < p.hd; e++) s += p.q.data[at(i, p.tq, e)]! * p.kk.data[at(j, p.tk, e)]!;
          s *= p.scale;
          if (p.bias) s += p.bias.data[biasAt(j)]!;
          if (p.slopes) s -= p.slopes.data[h]! * span(p, b, i, j);
          return s;
        });
        const most = Math.max(...scores);
        const row = (b * p.heads + h) * p.tq + i;
        if (most === Number.NEGATIVE_INFINITY) {
          lse.data[row] = most;
          continue;
        }
        const exps = scores.map((s) => Math.exp(s - most));
        const sum = exps.reduce((x, y) => x + y, 0);
        lse.data[row] = most + Math.log(sum);
        const probs = exps.map((x) => x / sum);
        const factor = (j: number): number => p.drop?.[row * p.tk + j] ?? 1;
        for (let e = 0; e < p.hd; e++) {
          let o = 0;
          for (let j = 0; j < p.tk; j++) o += probs[j]! * factor(j) * p.v.data[at(j, p.tk, e)]!;
          out.data[at(i, p.tq, e)] = o;
        }
        if (!dout) continue;
        const dp = probs.map((_, j) => {
          let g = 0;
          for (let e = 0; e < p.hd; e++) g += dout.data[at(i, p.tq, e)]! * p.v.data[at(j, p.tk, e)]!;
          return g * factor(j);
        });
        const dot = dp.reduce((x, g, j) => x + g * probs[j]!, 0);
        for (let j = 0; j < p.tk; j++) {
          const ds = probs[j]! * (dp[j]! - dot);
          if (dBias) dBias.data[biasAt(j)]! += ds;
          if (p.slopes) dSlopes.data[h]! -= ds * span(p, b, i, j);
          for (let e = 0; e < p.hd; e++) {
            dq.data[at(i, p.tq, e)]! += ds * p.scale * p.kk.data[at(j, p.tk, e)]!;
            dk.data[at(j, p.tk, e)]! += ds * p.scale * p.q.data[at(i, p.tq, e)]!;
            dv.data[at(j, p.tk, e)]! += probs[j]! * factor(j) * dout.data[at(i, p.tq, e)]!;
          }
        }
      }
    }
  }
  return { out, lse, dq, dk, dv, dSlopes, dBias };
}

/** Columns of several tensors side by side: packed qkv or kv. */
function pack(parts: Nd[]): Nd {
  const [b, t, d] = parts[0]!.shape as [number, number, number];
  const width = d * parts.length;
  return nd([b, t, width], (i) => {
    const column = i % width;
    return parts[Math.floor(column / d)]!.data[Math.floor(i / width) * d + (column % d)]!;
  });
}

const SIZES = [
  { b: 1, heads: 1, tq: 1, tk: 1, hd: 1 },
  { b: 2, heads: 3, tq: 5, tk: 5, hd: 8 },
  { b: 1, heads: 2, tq: 17, tk: 33, hd: 12 },
  { b: 2, heads: 2, tq: 40, tk: 40, hd: 64 },
  { b: 1, heads: 3, tq: 67, tk: 67, hd: 20 },
  { b: 1, heads: 1, tq: 3, tk: 200, hd: 7 },
];
type Size = (typeof SIZES)[number];

function problem(size: Size, seed: number): Problem {
  const d = size.heads * size.hd;
  return {
    ...size,
    q: random([size.b, size.tq, d], seed, 2),
    kk: random([size.b, size.tk, d], seed + 1, 2),
    v: random([size.b, size.tk, d], seed + 2),
    scale: 1 / Math.sqrt(size.hd),
  };
}

function optionsOf(p: Problem): k.AttentionOptions {
  const options: k.AttentionOptions = { heads: p.heads };
  if (p.padding) options.keyPadding = k.fromArray(p.padding, [p.b, p.tk]);
  if (p.bias) options.bias = up(p.bias, 'f32', 1);
  if (p.slopes) {
    options.alibi = {
      slopes: up(p.slopes),
      positionsQ: ints(p.posQ!, [p.b, p.tq, p.dims ?? 1]),
      positionsK: ints(p.posK!, [p.b, p.tk, p.dims ?? 1]),
      euclidean: p.euclidean,
    };
  }
  return options;
}

function check(p: Problem, dtype: Float, extra: Partial<k.AttentionOptions> = {}): void {
  const dout = random([p.b, p.tq, p.heads * p.hd], 99);
  const want = reference(p, dout);
  const options = { ...optionsOf(p), ...extra };
  const tolerance = dtype === 'f32' ? 5e-6 : 2 ** -6;
  const [tdout, q, kv] = [up(dout, dtype, 1), up(p.q, dtype, 3), up(pack([p.kk, p.v]), dtype)];
  const { out, lse } = k.attention(q, kv, options);
  expectClose(out, want.out, tolerance);
  expectClose(lse, want.lse, 1e-5);
  const grads = k.attentionBackward(tdout, out, lse, q, kv, options);
  expectClose(grads.dq, want.dq, tolerance);
  expectClose(grads.dkv!, pack([want.dk, want.dv]), tolerance);
  if (p.slopes) expectClose(grads.dSlopes!, want.dSlopes, dtype === 'f32' ? 3e-5 : 0.05);
  else expect(grads.dSlopes).toBeNull();
  if (p.bias) expectClose(grads.dBias!, want.dBias!, tolerance);
  else expect(grads.dBias).toBeNull();
  if (p.tq !== p.tk) return;
  const packed = up(pack([p.q, p.kk, p.v]), dtype, 1);
  const self = k.attention(packed, null, options);
  expectClose(self.out, want.out, tolerance);
  const selfGrads = k.attentionBackward(tdout, self.out, self.lse, packed, null, options);
  expectClose(selfGrads.dq, pack([want.dq, want.dk, want.dv]), tolerance);
  expect(selfGrads.dkv).toBeNull();
}

describe.each(FLOATS)('attention in %s', (dtype: Float) => {
  test.each(SIZES)('$b x $heads x $tq x $tk x $hd', (size) => clean(() => check(problem(size, 1), dtype))());

  test.each(SIZES)('padding: $b x $heads x $tq x $tk x $hd', (size) =>
    clean(() => {
      const p = problem(size, 5);
      p.padding = Uint8Array.from(randomInts([size.b, size.tk], 3, 3), (x) => (x === 0 ? 1 : 0));
      p.padding.fill(1, 0, size.b > 1 ? size.tk : 0); // the first sample has no keys at all
      check(p, dtype);
    })(),
  );

  test.each(SIZES)('ALiBi: $b x $heads x $tq x $tk x $hd', (size) =>
    clean(() => {
      for (const [dims, euclidean] of [
        [1, false],
        [2, false],
        [2, true],
      ] as const) {
        const p = problem(size, 6);
        p.slopes = random([size.heads], 7, 0.3);
        p.dims = dims;
        p.euclidean = euclidean;
        p.posQ = randomInts([size.b, size.tq, dims], 8, 12).map((x) => x - 1);
        p.posK = randomInts([size.b, size.tk, dims], 9, 12).map((x) => x - 1);
        p.padding = Uint8Array.from(randomInts([size.b, size.tk], 10, 4), (x) => (x === 0 ? 1 : 0));
        check(p, dtype);
      }
    })(),
  );

  test.each(SIZES)('bias: $b x $heads x $tq x $tk x $hd', (size) =>
    clean(() => {
      const p = problem(size, 11);
      p.bias = random([size.heads, size.tq, size.tk], 12);
      check(p, dtype);
      p.bias = random([size.b, size.heads, size.tq, size.tk], 13);
      check(p, dtype);
    })(),
  );

  test.each(SIZES)('dropout: $b x $heads x $tq x $tk x $hd', (size) =>
    clean(() => {
      const p = problem(size, 14);
      const key = { seed: 2 ** 40 + 5, update: 7, stream: 3 };
      // Rows of weights take whole blocks of four numbers: drop a tensor of ones that is padded likewise.
      const padded = 4 * Math.ceil(size.tk / 4);
      const rows = size.b * size.heads * size.tq;
      const mask = down(k.dropout(k.full([rows, padded], 1), 0.3, key));
      p.drop = Float64Array.from(
        { length: rows * size.tk },
        (_, i) => mask.data[Math.floor(i / size.tk) * padded + (i % size.tk)]!,
      );
      check(p, dtype, { dropout: 0.3, key });
    })(),
  );
});

test(
  'large scores do not overflow',
  clean(() => {
    const p = problem(SIZES[1]!, 1);
    for (let i = 0; i < p.q.data.length; i++) p.q.data[i]! *= 200;
    const { out } = k.attention(up(p.q), up(pack([p.kk, p.v])), { heads: p.heads });
    expect(distance(down(out), reference(p).out)).toBeLessThan(1e-4);
  }),
);

test(
  'scale is an option',
  clean(() => {
    const p = { ...problem(SIZES[1]!, 1), scale: 0.25 };
    expectClose(
      k.attention(up(p.q), up(pack([p.kk, p.v])), { heads: p.heads, scale: 0.25 }).out,
      reference(p).out,
    );
  }),
);
