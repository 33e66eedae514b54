import { describe, expect, it } from 'vitest';
import { EmaSchedule } from './ema.js';

describe('EmaSchedule', () => {
  it('anneals linearly from the first update on and then stays', () => {
    const schedule = new EmaSchedule({ ema_decay: 0.99, ema_end_decay: 0.999, ema_anneal_end_step: 8 });
    expect(schedule.decayAt(0)).toBe(0.99);
    expect(schedule.decayAt(1)).toBeCloseTo(0.991125, 12);
    expect(schedule.decayAt(7)).toBeCloseTo(0.997875, 12);
    expect(schedule.decayAt(8)).toBe(0.999);
    expect(schedule.decayAt(1e6)).toBe(0.999);
  });

  it('reaches 1 if the end is 1', () => {
    const schedule = new EmaSchedule({ ema_decay: 0.9, ema_end_decay: 1, ema_anneal_end_step: 4 });
    expect([1, 2, 3, 4, 5].map((k) => schedule.decayAt(k))).toEqual([0.925, 0.95, 0.975, 1, 1]);
  });

  it('needs no length if the decay is constant, and says so if it is not', () => {
    const constant = new EmaSchedule({ ema_decay: 0.9, ema_end_decay: 0.9, ema_anneal_end_step: null });
    expect(constant.decayAt(3)).toBe(0.9);
    expect(() => new EmaSchedule({ ema_decay: 0.9, ema_end_decay: 1, ema_anneal_end_step: null })).toThrow(
      /ema_anneal_end_step/,
    );
  });
});
