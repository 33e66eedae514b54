/** The fused operations written out plainly in f64, as what they mean, not as how they are computed. */
import { Nd, total } from './nd.js';

/** Gauss error function (Abramowitz-Stegun 7.1.26 is too coarse; this is the series / continued fraction pair). */
export function erf(x: number): number {
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let term = a;
    let s = a;
    for (let n = 1; n < 80; n++) {
      term *= -(a * a) / n;
      s += term / (2 * n + 1);
    }
    return Math.sign(x) * (2 / Math.sqrt(Math.PI)) * s;
  }
  let f = 0;
  for (let n = 60; n >= 1; n--) f = n / 2 / (a + f);
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + f));
}

export const gelu = (x: number): number => 0.5 * x * (1 + erf(x / Math.SQRT2));

export function linear(x: Nd, w: Nd, b?: Nd): Nd {
  const [outputs, inputs] = w.shape as [number, number];
  const rows = x.data.length / inputs;
  const flat = x.reshape([rows, inputs]);
  return Nd.build(
    [rows, outputs],
    (r, o) => (b?.at(o) ?? 0) + total(inputs, (i) => flat.at(r, i) * w.at(o, i)),
  ).reshape([...x.shape.slice(0, -1), outputs]);
}

export function layerNorm(x: Nd, eps: number, weight?: Nd, bias?: Nd): Nd {
  const width = x.shape.at(-1)!;
  const rows = x.reshape([x.data.length / width, width]);
  return Nd.build(rows.shape, (r, c) => {
    const mean = total(width, (i) => rows.at(r, i)) / width;
    const variance = total(width, (i) => (rows.at(r, i) - mean) ** 2) / width;
    const z = (rows.at(r, c) - mean) / Math.sqrt(variance + eps);
    return z * (weight?.at(c) ?? 1) + (bias?.at(c) ?? 0);
  }).reshape(x.shape);
}

export const add = (a: Nd, b: Nd): Nd => a.map((v, i) => v + b.data[i % b.data.length]!);

/** q [B,Tq,D], k and v [B,Tk,D]; `score` adds to the scaled product, -Infinity removes a key. */
export function attention(
  q: Nd,
  k: Nd,
  v: Nd,
  heads: number,
  score: (b: number, h: number, i: number, j: number) => number = () => 0,
): Nd {
  const [batch, tq, width] = q.shape as [number, number, number];
  const tk = k.shape[1]!;
  const size = width / heads;
  const weights = Nd.build([batch, heads, tq, tk], (b, h, i, j) => {
    const s = (key: number) =>
      total(size, (c) => q.at(b, i, h * size + c) * k.at(b, key, h * size + c)) / Math.sqrt(size) +
      score(b, h, i, key);
    const scores = Array.from({ length: tk }, (_, key) => s(key));
    const top = Math.max(...scores);
    if (top === Number.NEGATIVE_INFINITY) return 0;
    return Math.exp(scores[j]! - top) / total(tk, (key) => Math.exp(scores[key]! - top));
  });
  return Nd.build([batch, tq, width], (b, i, c) =>
    total(tk, (j) => weights.at(b, Math.floor(c / size), i, j) * v.at(b, j, c)),
  );
}

/** Columns [start, start + width) of the last of three dimensions. */
export function columns(x: Nd, start: number, width: number): Nd {
  return Nd.build([x.shape[0]!, x.shape[1]!, width], (b, t, c) => x.at(b, t, start + c));
}

/** Token-major 2-D convolution: x [B,H,W,C], w [O,C/groups,kh,kw]. */
export function conv2d(
  x: Nd,
  w: Nd,
  b: Nd | undefined,
  o: { stride: number[]; padding: [number, number][]; groups: number },
): Nd {
  const [batch, height, width] = x.shape as [number, number, number];
  const [outputs, perGroup, kh, kw] = w.shape as [number, number, number, number];
  const out = (n: number, kernel: number, d: number) =>
    Math.floor((n + o.padding[d]![0] + o.padding[d]![1] - kernel) / o.stride[d]!) + 1;
  return Nd.build([batch, out(height, kh, 0), out(width, kw, 1), outputs], (n, i, j, c) => {
    const first = Math.floor(c / (outputs / o.groups)) * perGroup;
    return (
      (b?.at(c) ?? 0) +
      total(kh, (p) =>
        total(kw, (q) =>
          total(
            perGroup,
            (s) =>
              x.at(
                n,
                i * o.stride[0]! - o.padding[0]![0] + p,
                j * o.stride[1]! - o.padding[1]![0] + q,
                first + s,
              ) * w.at(c, s, p, q),
          ),
        ),
      )
    );
  });
}

/** The same over time: x [B,T,C], w [O,C/groups,k]. */
export function conv1d(
  x: Nd,
  w: Nd,
  b: Nd | undefined,
  o: { stride: number[]; padding: [number, number][]; groups: number },
): Nd {
  const [batch, time, channels] = x.shape as [number, number, number];
  const [outputs, perGroup, kernel] = w.shape as [number, number, number];
  const y = conv2d(x.reshape([batch, 1, time, channels]), w.reshape([outputs, perGroup, 1, kernel]), b, {
    stride: [1, ...o.stride],
    padding: [[0, 0], ...o.padding],
    groups: o.groups,
  });
  return y.reshape([batch, y.shape[2]!, outputs]);
}

export function softmax(x: Nd): Nd {
  const width = x.shape.at(-1)!;
  return x.map((v, i) => {
    const row = i - (i % width);
    return Math.exp(v) / total(width, (c) => Math.exp(x.data[row + c]!));
  });
}
