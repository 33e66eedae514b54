import * as k from '@d2v/cuda-kernels';
import { describe, expect, it } from 'vitest';
import { ParameterArena } from '../nn/arena.js';
import { Linear } from '../nn/linear.js';
import { Module } from '../nn/module.js';
import { Philox } from '../random.js';
import { Adam } from './optimizer.js';

class Two extends Module {
  readonly a = this.child('a', new Linear(3, 5));
  readonly b = this.child('b', new Linear(5, 2, { init: 'default' }));
}

const values = (t: k.RawTensor) => Float64Array.from(k.toArray(t) as Float32Array);
const group = (name: string) => (name.startsWith('b') ? 'head' : 'default');

function setUp(owner?: (name: string) => string | null) {
  const model = new Two();
  const arena = new ParameterArena(model, { seed: 4, group, owner, averaged: (n) => n.startsWith('a') });
  const teacher = arena.bindTeacher(model);
  const rng = new Philox(9);
  const setGradients = () => {
    for (const p of model.parameters()) {
      k.write_(
        p.grad!,
        Float32Array.from({ length: p.size }, () => rng.normal()),
      );
    }
  };
  return { model, arena, teacher, setGradients };
}

describe('Adam', () => {
  it('follows the published update: eps before the bias correction, decay first, clipping, average', () => {
    const { model, arena, teacher, setGradients } = setUp();
    const adam = new Adam(arena, {
      betas: [0.9, 0.95],
      eps: 1e-3,
      weightDecay: 0.1,
      groups: { head: { lrScale: 0.5, weightDecay: 0.3, betas: [0.8, 0.9] } },
    });
    const state = model.parameters().map((p) => {
      const w = values(p.raw);
      return { p, w, m: w.map(() => 0), v: w.map(() => 0), t: w.slice() };
    });
    for (let step = 1; step <= 4; step++) {
      setGradients();
      const gradScale = 0.25;
      const grads = state.map(({ p }) => values(p.grad!));
      let squares = 0;
      for (const g of grads) for (const v of g) squares += (v * gradScale) ** 2;
      const result = adam.step({ lr: 0.01, gradScale, clipNorm: 1, emaDecay: 0.9 });
      expect(result.applied).toBe(true);
      expect(result.gradNorm).toBeCloseTo(Math.sqrt(squares), 5);
      expect(result.clipFactor).toBeCloseTo(Math.min(1, 1 / (Math.sqrt(squares) + 1e-6)), 6);
      for (const [i, { p, w, m, v, t }] of state.entries()) {
        const head = p.name.startsWith('b');
        const [b1, b2] = head ? [0.8, 0.9] : [0.9, 0.95];
        const lr = head ? 0.005 : 0.01;
        const decay = p.shape.length === 1 ? 0 : head ? 0.3 : 0.1;
        for (const [j, raw] of grads[i]!.entries()) {
          const g = raw * gradScale * result.clipFactor;
          m[j] = b1 * m[j]! + (1 - b1) * g;
          v[j] = b2 * v[j]! + (1 - b2) * g * g;
          w[j]! -= lr * decay * w[j]!;
          w[j]! -=
            ((lr * Math.sqrt(1 - b2 ** step)) / (1 - b1 ** step)) * (m[j]! / (Math.sqrt(v[j]!) + 1e-3));
          t[j] = 0.9 * t[j]! + 0.1 * w[j]!;
        }
        const got = values(p.raw);
        for (const [j, wanted] of w.entries()) expect(got[j]).toBeCloseTo(wanted, 5);
        expect(values(p.grad!).every((g) => g === 0)).toBe(true);
        const average = values(teacher.parameters().find((q) => q.name === p.name)!.raw);
        const wanted = head ? w : t;
        for (const [j, value] of wanted.entries()) expect(average[j]).toBeCloseTo(value, 5);
      }
    }
    expect(adam.stepCounts()).toEqual({ default: 4, head: 4 });
    // Padding between parameters has stayed zero.
    const used = new Set<number>();
    for (const e of arena.entries.values()) for (let i = 0; i < e.size; i++) used.add(e.offset + i);
    for (const which of ['weights', 'm', 'v'] as const) {
      values(arena.buffer(which)).forEach((value, i) => {
        if (!used.has(i)) expect(value).toBe(0);
      });
    }
    arena.dispose();
  });

  it('changes nothing when the gradients are not finite', () => {
    const { model, arena, setGradients } = setUp();
    const adam = new Adam(arena, { weightDecay: 0.1 });
    setGradients();
    k.fill_(model.a.bias!.grad!, Number.NaN);
    const before = values(arena.buffer('weights'));
    const result = adam.step({ lr: 0.1, emaDecay: 0.5 });
    expect(result.applied).toBe(false);
    expect(values(arena.buffer('weights'))).toEqual(before);
    expect(values(arena.buffer('grads')).every((g) => g === 0)).toBe(true);
    expect(adam.stepCounts().default).toBe(1);
    setGradients();
    const losses = [Number.NaN, 1].map((loss) => k.full([1], loss, 'f64'));
    expect(adam.step({ lr: 0.1, losses }).applied).toBe(false);
    expect(values(arena.buffer('weights'))).toEqual(before);
    arena.dispose();
  });

  it('leaves what belongs to another owner alone, decay and moments too; its teacher still follows', () => {
    const { model, arena, teacher, setGradients } = setUp((name) => (name.startsWith('a.') ? 'A' : null));
    const adam = new Adam(arena, { weightDecay: 0.1 });
    setGradients();
    adam.step({ lr: 0.1, owner: 'A' });
    const [first, second] = [
      values(arena.named('m').get('a.weight')!),
      values(arena.named('v').get('a.weight')!),
    ];
    expect(first.every((m) => m !== 0)).toBe(true);
    k.fill_(model.a.weight.raw, 1);
    k.fill_(teacher.a.weight.raw, 0);
    const head = values(model.b.weight.raw);
    setGradients();
    arena.zeroGrad();
    k.fill_(model.b.weight.grad!, 1);
    adam.step({ lr: 0.1, emaDecay: 0.5, owner: 'B' });
    expect(values(model.a.weight.raw).every((w) => w === 1)).toBe(true);
    expect(values(arena.named('m').get('a.weight')!)).toEqual(first);
    expect(values(arena.named('v').get('a.weight')!)).toEqual(second);
    expect(values(model.b.weight.raw)).not.toEqual(head);
    expect(adam.stepCounts()).toEqual({ 'default of A': 1, head: 2 });
    expect(values(teacher.a.weight.raw)[0]).toBe(0.5);
    arena.dispose();
  });

  it('continues from saved counts and refuses unknown groups', () => {
    const { arena } = setUp();
    const adam = new Adam(arena);
    adam.loadStepCounts({ default: 7, head: 3 });
    expect(adam.stepCounts()).toEqual({ default: 7, head: 3 });
    expect(() => new Adam(arena, { groups: { decoder: {} } })).toThrow(/no parameter is in group 'decoder'/);
    arena.dispose();
  });
});
