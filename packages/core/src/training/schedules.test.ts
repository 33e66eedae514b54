import { describe, expect, it } from 'vitest';
import type { RunConfig } from '../config/schema.js';
import { createSchedule } from './schedules.js';

const base: RunConfig['lr_scheduler'] = {
  name: 'cosine',
  warmup_updates: 0,
  warmup_init_lr: null,
  min_lr: 0,
  lr_period_updates: null,
  t_mult: 1,
  lr_shrink: 0.1,
  phase_ratio: null,
  warmup_steps: 0,
  hold_steps: 0,
  decay_steps: 0,
  init_lr_scale: 0.01,
  final_lr_scale: 0.01,
  end_learning_rate: 0,
  power: 1,
  total_num_update: null,
};
const schedule = (over: Partial<typeof base>, maxUpdate: number | null = 110) =>
  createSchedule({ ...base, ...over }, 1e-3, maxUpdate);

describe('cosine', () => {
  it('gives rate 0 to the very first update of a warm-up and the peak right after it', () => {
    const lr = schedule({ warmup_updates: 10 });
    expect(lr(0)).toBe(0);
    expect(lr(5)).toBeCloseTo(5e-4, 12);
    expect(lr(10)).toBeCloseTo(1e-3, 12);
    expect(lr(60)).toBeCloseTo(5e-4, 12);
    expect(lr(109)).toBeLessThan(1e-6);
  });
  it('ends at min_lr and starts at the peak without warm-up', () => {
    const lr = schedule({ min_lr: 1e-4 });
    expect(lr(0)).toBeCloseTo(1e-3, 12);
    expect(lr(109)).toBeCloseTo(1e-4, 6);
  });
  it('restarts after each period, lower and longer', () => {
    const lr = schedule({ lr_period_updates: 10, t_mult: 2, lr_shrink: 0.5 });
    expect(lr(0)).toBeCloseTo(1e-3, 12);
    expect(lr(5)).toBeCloseTo(5e-4, 12);
    expect(lr(10)).toBeCloseTo(5e-4, 12);
    expect(lr(20)).toBeCloseTo(2.5e-4, 12);
    expect(lr(30)).toBeCloseTo(2.5e-4, 12);
    const even = schedule({ lr_period_updates: 10 });
    expect(even(10)).toBeCloseTo(1e-4, 12);
  });
  it('only warms up in a run that is shorter than the warm-up', () => {
    const lr = schedule({ warmup_updates: 200 });
    expect(lr(100)).toBeCloseTo(5e-4, 12);
    expect(schedule({ warmup_updates: 110 })(109)).toBeCloseTo((1e-3 * 109) / 110, 12);
  });
});

describe('tri_stage', () => {
  it('warms up from init_lr_scale, holds, and decays exponentially to final_lr_scale', () => {
    const lr = schedule({ name: 'tri_stage', phase_ratio: [0.1, 0.4, 0.5] }, 100);
    expect(lr(0)).toBeCloseTo(1e-5, 12);
    expect(lr(10)).toBeCloseTo(1e-3, 12);
    expect(lr(49)).toBeCloseTo(1e-3, 12);
    expect(lr(75)).toBeCloseTo(1e-4, 12);
    expect(lr(100)).toBeCloseTo(1e-5, 12);
    expect(lr(1000)).toBeCloseTo(1e-5, 12);
  });
  it('takes counts, and says what is missing', () => {
    const lr = schedule({ name: 'tri_stage', warmup_steps: 4, hold_steps: 2, decay_steps: 4 });
    expect(lr(4)).toBe(1e-3);
    expect(lr(10)).toBeCloseTo(1e-5, 12);
    expect(() => schedule({ name: 'tri_stage' })).toThrow(/phase_ratio/);
    expect(() => schedule({ name: 'tri_stage', phase_ratio: [0.5, 0.5, 0.5] })).toThrow(/add up to 1/);
  });
});

it('polynomial starts at 0, peaks after warm-up and falls to the end rate', () => {
  const lr = schedule({ name: 'polynomial', warmup_updates: 10, end_learning_rate: 1e-4 });
  expect(lr(0)).toBe(0);
  expect(lr(10)).toBe(1e-3);
  expect(lr(60)).toBeCloseTo(5.5e-4, 12);
  expect(lr(110)).toBe(1e-4);
});

it('constant warms up without a zero', () => {
  const lr = schedule({ name: 'constant', warmup_updates: 4 });
  expect([lr(0), lr(1), lr(3), lr(4), lr(99)]).toEqual([2.5e-4, 5e-4, 1e-3, 1e-3, 1e-3]);
});

it('says what an open-ended run needs', () => {
  expect(() => schedule({}, null)).toThrow(/set optimization\.max_update or lr_scheduler\.lr_period_updates/);
  expect(schedule({ name: 'constant' }, null)(7)).toBe(1e-3);
});
