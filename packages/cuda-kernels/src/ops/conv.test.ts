import { describe, expect, test } from 'vitest';
import * as k from '../index.js';
import {
  clean,
  down,
  expectClose,
  FLOATS,
  type Float,
  type Nd,
  nd,
  random,
  sizeOf,
  up,
} from '../test-support/nd.js';

interface Case {
  input: number[]; // [B, H, W, Cin]
  w: number[]; // [Cout, Cin / groups, kh, kw]
  stride: [number, number];
  padding: [[number, number], [number, number]];
  groups: number;
}

/** Visits (output element, input element, weight element) of every product. */
function forProducts(c: Case, out: number[], visit: (y: number, x: number, w: number) => void): void {
  const [, h, wd, cin] = c.input as [number, number, number, number];
  const [cout, ci, kh, kw] = c.w as [number, number, number, number];
  const [b, oh, ow] = out as [number, number, number];
  for (let n = 0; n < b; n++)
    for (let oy = 0; oy < oh; oy++)
      for (let ox = 0; ox < ow; ox++)
        for (let o = 0; o < cout; o++)
          for (let e = 0; e < ci; e++)
            for (let ky = 0; ky < kh; ky++)
              for (let kx = 0; kx < kw; kx++) {
                const iy = oy * c.stride[0] - c.padding[0][0] + ky;
                const ix = ox * c.stride[1] - c.padding[1][0] + kx;
                if (iy < 0 || iy >= h || ix < 0 || ix >= wd) continue;
                const channel = Math.floor(o / (cout / c.groups)) * ci + e;
                visit(
                  ((n * oh + oy) * ow + ox) * cout + o,
                  ((n * h + iy) * wd + ix) * cin + channel,
                  ((o * ci + e) * kh + ky) * kw + kx,
                );
              }
}

function outputShape(c: Case): number[] {
  const side = (i: 0 | 1): number =>
    Math.floor((c.input[1 + i]! + c.padding[i][0] + c.padding[i][1] - c.w[2 + i]!) / c.stride[i]) + 1;
  return [c.input[0]!, side(0), side(1), c.w[0]!];
}

const same = (kernel: number): [number, number] => [kernel >> 1, (kernel - 1) >> 1];
const CASES: Case[] = [
  {
    input: [1, 1, 1, 1],
    w: [1, 1, 1, 1],
    stride: [1, 1],
    padding: [
      [0, 0],
      [0, 0],
    ],
    groups: 1,
  },
  { input: [2, 8, 8, 32], w: [32, 2, 3, 3], stride: [1, 1], padding: [same(3), same(3)], groups: 16 },
  {
    input: [1, 5, 7, 6],
    w: [9, 2, 3, 2],
    stride: [1, 1],
    padding: [
      [1, 1],
      [0, 1],
    ],
    groups: 3,
  },
  {
    input: [2, 9, 6, 5],
    w: [7, 5, 3, 4],
    stride: [2, 3],
    padding: [
      [0, 2],
      [1, 0],
    ],
    groups: 1,
  },
  { input: [1, 6, 6, 16], w: [48, 1, 5, 5], stride: [1, 1], padding: [same(5), same(5)], groups: 16 },
  { input: [2, 7, 5, 24], w: [24, 12, 4, 4], stride: [1, 1], padding: [same(4), same(4)], groups: 2 },
  {
    input: [1, 4, 4, 8],
    w: [8, 8, 1, 1],
    stride: [2, 2],
    padding: [
      [0, 0],
      [0, 0],
    ],
    groups: 1,
  },
  {
    input: [3, 3, 3, 4],
    w: [2, 4, 3, 3],
    stride: [1, 1],
    padding: [
      [5, 5],
      [5, 5],
    ],
    groups: 1,
  },
];
const LINES: Case[] = [
  { input: [2, 1, 41, 32], w: [32, 2, 1, 19], stride: [1, 1], padding: [[0, 0], same(19)], groups: 16 },
  {
    input: [2, 1, 333, 1],
    w: [24, 1, 1, 10],
    stride: [1, 5],
    padding: [
      [0, 0],
      [0, 0],
    ],
    groups: 1,
  },
  {
    input: [1, 1, 30, 12],
    w: [20, 12, 1, 3],
    stride: [1, 2],
    padding: [
      [0, 0],
      [1, 1],
    ],
    groups: 1,
  },
  { input: [2, 1, 23, 48], w: [64, 3, 1, 7], stride: [1, 1], padding: [[0, 0], same(7)], groups: 16 },
  // The audio model's layers in small: samples of sound, then many channels; more outputs than are taken at a time.
  {
    input: [2, 1, 2011, 1],
    w: [64, 1, 1, 10],
    stride: [1, 5],
    padding: [
      [0, 0],
      [0, 0],
    ],
    groups: 1,
  },
  {
    input: [3, 1, 50, 2],
    w: [112, 2, 1, 3],
    stride: [1, 1],
    padding: [
      [0, 0],
      [2, 3],
    ],
    groups: 1,
  },
  {
    input: [2, 1, 431, 36],
    w: [70, 36, 1, 3],
    stride: [1, 2],
    padding: [
      [0, 0],
      [0, 0],
    ],
    groups: 1,
  },
  {
    input: [2, 1, 99, 64],
    w: [48, 64, 1, 2],
    stride: [1, 2],
    padding: [
      [0, 0],
      [0, 0],
    ],
    groups: 1,
  },
  {
    input: [1, 1, 12, 300],
    w: [20, 300, 1, 4],
    stride: [1, 3],
    padding: [
      [0, 0],
      [3, 2],
    ],
    groups: 1,
  },
  // The text model's decoder, and the audio model's positions and decoder, with the channels of their groups.
  { input: [2, 1, 25, 96], w: [80, 96, 1, 9], stride: [1, 1], padding: [[0, 0], same(9)], groups: 1 },
  { input: [2, 1, 40, 96], w: [96, 48, 1, 19], stride: [1, 1], padding: [[0, 0], same(19)], groups: 2 },
  { input: [1, 1, 30, 192], w: [96, 48, 1, 7], stride: [1, 1], padding: [[0, 0], same(7)], groups: 4 },
  { input: [3, 1, 30, 96], w: [96, 24, 1, 7], stride: [1, 1], padding: [[0, 0], same(7)], groups: 4 },
];

/** Drops the height of 1 for one-dimensional calls. */
const flat = (shape: number[], line: boolean, at: number): number[] =>
  line ? shape.toSpliced(at, 1) : shape;

function check(c: Case, dtype: Float, line: boolean): void {
  const shape = outputShape(c);
  const options: k.ConvOptions = line
    ? { stride: [c.stride[1]], padding: [c.padding[1]], groups: c.groups }
    : { stride: c.stride, padding: c.padding, groups: c.groups };
  const reshaped = (t: Nd, at: number): Nd => ({ data: t.data, shape: flat(t.shape, line, at) });
  const x = random(c.input, 1);
  const w = random(c.w, 2);
  const bias = random([c.w[0]!], 3);
  const dy = random(shape, 4);
  const y = nd(shape, (i) => bias.data[i % c.w[0]!]!);
  const dx = nd(c.input);
  const dw = random(c.w, 5);
  const db = random([c.w[0]!], 6);
  const [dwStart, dbStart] = [Float64Array.from(dw.data), Float64Array.from(db.data)];
  forProducts(c, shape, (o, i, e) => {
    y.data[o]! += x.data[i]! * w.data[e]!;
    dx.data[i]! += dy.data[o]! * w.data[e]!;
    dw.data[e]! += dy.data[o]! * x.data[i]!;
  });
  for (let i = 0; i < dy.data.length; i++) db.data[i % c.w[0]!]! += dy.data[i]!;
  const tolerance = dtype === 'f32' ? 5e-6 : undefined;
  const [tx, tw, tdy] = [
    up(reshaped(x, 1), dtype, 1),
    up(reshaped(w, 2), dtype),
    up(reshaped(dy, 1), dtype, 3),
  ];
  expectClose(k.conv(tx, tw, up(bias, dtype), options), reshaped(y, 1), tolerance);
  const bare = nd(shape, (i) => y.data[i]! - bias.data[i % c.w[0]!]!);
  expectClose(k.conv(tx, tw, null, options), reshaped(bare, 1), tolerance);
  expectClose(k.convGradInput(tdy, tw, flat(c.input, line, 1), options), reshaped(dx, 1), tolerance);
  const tdw = up(reshaped({ shape: c.w, data: dwStart }, 2), 'f32', 1);
  const tdb = up({ shape: [c.w[0]!], data: dbStart });
  k.convGradWeight_(tdw, tdy, tx, tdb, options);
  expectClose(tdw, reshaped(dw, 2), tolerance ?? 1e-5);
  expectClose(tdb, db, tolerance ?? 1e-5);
  k.convGradWeight_(tdw, tdy, tx, null, options);
}

describe.each(FLOATS)('convolution in %s', (dtype: Float) => {
  test.each(CASES)('$input * $w, stride $stride, $groups groups', (c) =>
    clean(() => check(c, dtype, false))(),
  );
  test.each(LINES)('1-d: $input * $w, stride $stride, $groups groups', (c) =>
    clean(() => check(c, dtype, true))(),
  );
});

test(
  'stride 1, no padding and one group are the defaults',
  clean(() => {
    const [x, w] = [up(random([1, 5, 5, 2], 1)), up(random([3, 2, 2, 2], 2))];
    const explicit = k.conv(x, w, null, {
      stride: [1, 1],
      padding: [
        [0, 0],
        [0, 0],
      ],
      groups: 1,
    });
    expectClose(k.conv(x, w), down(explicit));
  }),
);

test(
  'gradients to weights do not depend on the number of threads',
  clean(() => {
    const threads = k.deviceInfo().threads;
    const cases: [number[], number[], k.ConvOptions][] = [
      [[3, 700, 1], [64, 1, 10], { stride: [5] }],
      [[3, 330, 40], [40, 40, 3], { stride: [2] }],
      [[3, 250, 200], [24, 200, 3], { padding: [[1, 1]] }],
      [[5, 40, 96], [96, 24, 7], { padding: [[3, 3]], groups: 4 }],
    ];
    try {
      for (const [input, shape, options] of cases) {
        const [x, w] = [up(random(input, 1)), up(random(shape, 2))];
        const dy = up(random(k.conv(x, w, null, options).shape as number[], 3));
        const results = [1, 2, 5].map((n) => {
          k.setThreads(n);
          const [dw, db] = [k.zeros(shape), k.zeros([shape[0]!])];
          k.convGradWeight_(dw, dy, x, db, options);
          return [...(k.toArray(dw) as Float32Array), ...(k.toArray(db) as Float32Array)];
        });
        expect(results[1]).toEqual(results[0]);
        expect(results[2]).toEqual(results[0]);
      }
    } finally {
      k.setThreads(threads);
    }
  }),
);

describe.each(FLOATS)('patches in %s', (dtype: Float) => {
  test.each([
    [1, 1, 1, 1, 1, 1],
    [2, 3, 8, 12, 4, 4],
    [1, 3, 6, 10, 2, 5],
    [3, 2, 7, 3, 7, 1],
  ] as const)('%i x %i x %i x %i by %i x %i', (b, c, h, w, ph, pw) =>
    clean(() => {
      const images = random([b, c, h, w], 1);
      const [gh, gw] = [h / ph, w / pw];
      for (const layout of ['cpq', 'pqc'] as const) {
        const expected = nd([b, gh * gw, c * ph * pw]);
        for (let i = 0; i < sizeOf(images.shape); i++) {
          const [x, y, channel, n] = [
            i % w,
            Math.floor(i / w) % h,
            Math.floor(i / w / h) % c,
            Math.floor(i / w / h / c),
          ];
          const token = Math.floor(y / ph) * gw + Math.floor(x / pw);
          const [p, q] = [y % ph, x % pw];
          const within = layout === 'cpq' ? (channel * ph + p) * pw + q : (p * pw + q) * c + channel;
          expected.data[(n * gh * gw + token) * c * ph * pw + within] = images.data[i]!;
        }
        const tokens = k.patchify(up(images, dtype, 1), [ph, pw], layout);
        expectClose(tokens, expected, 0);
        expectClose(k.unpatchify(tokens, [c, h, w], [ph, pw], layout), images, 0);
      }
    })(),
  );
  test('must divide the image', () => {
    expect(() => k.patchify(k.zeros([1, 1, 5, 4]), [2, 2], 'cpq')).toThrow(
      'patchify: patch: patches of 2 x 2 do not divide an image of 5 x 4',
    );
  });
});
