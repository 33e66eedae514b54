import { expect, test } from 'vitest';
import * as k from '../index.js';
import { clean, expectClose, nd, random, same, up } from '../test-support/nd.js';

const BASE = { lr: 1e-2, beta1: 0.9, beta2: 0.98, eps: 1e-6 };

test.each([1, 7, 33, 40_001])('Adam on %i elements', (n) =>
  clean(() => {
    for (const [weightDecay, gradScale, zeroGrad, emaDecay] of [
      [0, 1, false, undefined],
      [0.1, 0.25, true, 0.99],
      [0.01, 2, true, undefined],
      [0, 1, false, 0.5],
      [0, 1, false, 1],
    ] as const) {
      const [p, g, m, v, t] = [1, 2, 3, 4, 5].map((seed) => random([n], seed)) as [
        ReturnType<typeof random>,
        ReturnType<typeof random>,
        ReturnType<typeof random>,
        ReturnType<typeof random>,
        ReturnType<typeof random>,
      ];
      v.data.forEach((x, i) => {
        v.data[i] = x * x;
      });
      const start = Float64Array.from(g.data);
      const raw = [p, g, m, v, t].map((x, i) => up(x, 'f32', i)) as [
        k.RawTensor,
        k.RawTensor,
        k.RawTensor,
        k.RawTensor,
        k.RawTensor,
      ];
      for (let step = 1; step <= 3; step++) {
        const size = (BASE.lr * Math.sqrt(1 - BASE.beta2 ** step)) / (1 - BASE.beta1 ** step);
        for (let i = 0; i < n; i++) {
          const grad = g.data[i]! * gradScale;
          m.data[i] = BASE.beta1 * m.data[i]! + (1 - BASE.beta1) * grad;
          v.data[i] = BASE.beta2 * v.data[i]! + (1 - BASE.beta2) * grad * grad;
          p.data[i]! -= BASE.lr * weightDecay * p.data[i]!;
          p.data[i]! -= (size * m.data[i]!) / (Math.sqrt(v.data[i]!) + BASE.eps);
          if (emaDecay !== undefined) t.data[i] = emaDecay * t.data[i]! + (1 - emaDecay) * p.data[i]!;
        }
        const teacher = emaDecay === undefined ? null : raw[4];
        k.adam_(raw[0], raw[1], raw[2], raw[3], {
          ...BASE,
          weightDecay,
          gradScale,
          zeroGrad,
          step,
          teacher,
          emaDecay,
        });
        expectClose(raw[1], zeroGrad ? nd([n]) : g, 0);
        if (zeroGrad) k.write_(raw[1], start);
      }
      for (const [actual, expected] of [
        [raw[0], p],
        [raw[2], m],
        [raw[3], v],
        [raw[4], t],
      ] as const) {
        expectClose(actual, expected, 2e-6);
      }
    }
  })(),
);

test(
  'the moving average alone is the one that Adam makes',
  clean(() => {
    const [teacher, student] = [random([1001], 1), random([1001], 2)];
    const raw = up(teacher, 'f32', 1);
    k.ema_(raw, up(student), 0.9);
    expectClose(
      raw,
      nd([1001], (i) => 0.9 * teacher.data[i]! + 0.1 * student.data[i]!),
    );
    const before = k.bytes(raw);
    k.ema_(raw, up(student), 1);
    expect(same(k.bytes(raw), before)).toBe(true);
  }),
);

test(
  'arenas must not overlap',
  clean(() => {
    const all = k.zeros([40]);
    const [p, g, m] = [0, 10, 20].map((at) => all.view(at, [10])) as [k.RawTensor, k.RawTensor, k.RawTensor];
    expect(() => k.adam_(p, g, m, all.view(25, [10]), { ...BASE, step: 1 })).toThrow('must not share memory');
    expect(() => k.adam_(p, g, m, all.view(30, [9]), { ...BASE, step: 1 })).toThrow(
      'adam_: v: expected shape [10], got [9]',
    );
    expect(() => k.adam_(p, g, m, all.view(30, [10]), { ...BASE, step: 0 })).toThrow(
      'adam_: step: expected an integer >= 1, got 0',
    );
  }),
);

test(
  'the gradients of an update are judged and clipped on the device',
  clean(() => {
    const f64 = (...values: number[]) =>
      k.fromArray(Float64Array.from(values), [values.length], { dtype: 'f64' });
    const judged = (...args: Parameters<typeof k.gradControl>) => [...k.toArray(k.gradControl(...args))];
    expect(judged(f64(9, 16))).toEqual([5, 1, 1]);
    expect(judged(f64(25), f64(1, -2), { gradScale: 0.5, clipNorm: 4 })).toEqual([2.5, 0.5, 1]);
    expect(judged(f64(25), null, { gradScale: 0.5, clipNorm: 1 })).toEqual([2.5, 0.5 / (2.5 + 1e-6), 1]);
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(judged(f64(9, bad))[2]).toBe(0);
      expect(judged(f64(9, 16), f64(1, bad))[2]).toBe(0);
    }
    expect(() => k.gradControl(k.zeros([1]))).toThrow('gradControl: squares: expected dtype f64, got f32');
  }),
);

test(
  'a control replaces the scale of the gradients, or leaves everything but them alone',
  clean(() => {
    const state = () => [1, 2, 3, 4, 5].map((seed) => up(random([1001], seed), 'f32', seed)) as K5;
    type K5 = [k.RawTensor, k.RawTensor, k.RawTensor, k.RawTensor, k.RawTensor];
    const all = (tensors: K5) => tensors.map((t) => k.bytes(t));
    const step = ([p, g, m, v, teacher]: K5, options: { gradScale?: number; control?: k.RawTensor }) =>
      k.adam_(p, g, m, v, { ...BASE, step: 2, zeroGrad: true, teacher, emaDecay: 0.9, ...options });
    const control = (norm: number) => k.gradControl(k.full([1], norm ** 2, 'f64'), null, { gradScale: 0.25 });
    const [plain, controlled, skipped] = [state(), state(), state()];
    for (const t of [plain[3], controlled[3], skipped[3]]) k.fill_(t, 0.5);
    const before = all(skipped);
    step(plain, { gradScale: 0.25 });
    step(controlled, { control: control(1) });
    expect(all(controlled).every((bytes, i) => same(bytes, k.bytes(plain[i]!)))).toBe(true);
    step(skipped, { control: control(Number.NaN) });
    k.ema_(skipped[4], skipped[0], 0.5, control(Number.NaN));
    const after = all(skipped);
    expect(after.map((bytes, i) => same(bytes, before[i]!))).toEqual([true, false, true, true, true]);
    expect(after[1]!.every((byte) => byte === 0)).toBe(true);
    k.ema_(skipped[4], skipped[0], 0.5, control(1));
    expect(same(k.bytes(skipped[4]), before[4]!)).toBe(false);
  }),
);
