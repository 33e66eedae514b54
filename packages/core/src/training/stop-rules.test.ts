import { describe, expect, it } from 'vitest';
import type { RunConfig } from '../config/schema.js';
import { StopRules, type StopState } from './stop-rules.js';

const off: RunConfig['stop'] = {
  max_seconds: null,
  loss_threshold: null,
  loss_window: 3,
  plateau_patience: null,
  plateau_min_delta: 0.01,
  collapse_after: 5000,
  max_nonfinite: 10,
};
const rules = (over: Partial<typeof off>, state?: StopState) =>
  new StopRules({ ...off, ...over }, 100, ['a'], state);

describe('StopRules', () => {
  it('stops at max_update and not before', () => {
    expect(rules({}).after(99, 'a', 1, 1e9)).toBeNull();
    expect(rules({}).after(100, 'a', 1, 0)).toMatchObject({ reason: 'max_update' });
  });

  it('stops by the clock', () => {
    expect(rules({ max_seconds: 60 }).after(1, 'a', 1, 59.9)).toBeNull();
    expect(rules({ max_seconds: 60 }).after(1, 'a', 1, 60)).toMatchObject({ reason: 'max_seconds' });
  });

  it('compares the threshold with a smoothed loss, and says over how many updates', () => {
    const some = rules({ loss_threshold: 0.5 });
    expect(some.after(1, 'a', 0.1, 0)).toBeNull();
    expect(some.after(2, 'a', 0.1, 0)).toBeNull();
    expect(some.after(3, 'a', 2, 0)).toBeNull();
    expect(some.after(4, 'a', 0.4, 0)).toBeNull();
    expect(some.after(5, 'a', 0.2, 0)).toBeNull();
    const stop = some.after(6, 'a', 0.9, 0);
    expect(stop).toMatchObject({ reason: 'loss_threshold' });
    expect(stop?.message).toMatch(/last 3 updates, 0\.5000/);
  });

  it('sees a plateau only when improvement stays below min_delta', () => {
    const some = rules({ plateau_patience: 5 });
    let update = 0;
    for (let loss = 10; loss > 5; loss *= 0.97) expect(some.after(++update, 'a', loss, 0)).toBeNull();
    const stalled: number[] = [];
    for (let i = 0; i < 12 && stalled.length === 0; i++) if (some.after(++update, 'a', 5, 0)) stalled.push(i);
    expect(stalled[0]).toBeGreaterThanOrEqual(4);
    expect(some.check(update, 0)).toMatchObject({ reason: 'plateau' });
  });

  it('ignores skipped updates', () => {
    const some = rules({ loss_threshold: 1 });
    for (let i = 1; i < 10; i++) expect(some.after(i, 'a', null, 0)).toBeNull();
    expect(some.meanLoss).toBeUndefined();
  });

  it('waits for every modality, each with a window of its own', () => {
    const some = new StopRules({ ...off, loss_threshold: 0.5, loss_window: 2 }, 100, ['a', 'b']);
    expect(some.after(1, 'a', 0.1, 0)).toBeNull();
    expect(some.meanLoss).toBeUndefined();
    for (const update of [2, 3]) expect(some.after(update, 'a', 0.1, 0)).toBeNull();
    for (const update of [4, 5]) expect(some.after(update, 'b', 3, 0)).toBeNull();
    expect(some.meanLoss).toBeCloseTo(1.55);
    expect(some.after(6, 'b', 0.2, 0)).toBeNull();
    const stop = some.after(7, 'b', 0.4, 0);
    expect(stop?.message).toContain('a 0.1000, b 0.3000, are all at or below stop.loss_threshold (0.5)');
  });

  it('sees a plateau only when no modality makes progress', () => {
    const some = new StopRules({ ...off, plateau_patience: 6, loss_window: 1 }, 100, ['a', 'b']);
    expect(some.after(1, 'a', 2, 0)).toBeNull();
    for (let update = 2; update < 20; update += 2) {
      expect(some.after(update, 'a', 2, 0)).toBeNull();
      expect(some.after(update + 1, 'b', 1 / update, 0)).toBeNull();
    }
    const stops = [20, 22, 24].map(
      (update) => some.after(update, 'a', 2, 0) ?? some.after(update + 1, 'b', 1, 0),
    );
    expect(stops[2]).toMatchObject({ reason: 'plateau' });
    expect(stops[2]?.message).toContain('lowest was a 2.000 at update 1, b 0.05556 at update 19');
  });

  it('continues from its saved state as if never interrupted', () => {
    const config = { plateau_patience: 4, loss_threshold: 0.01 };
    const whole = rules(config);
    let broken = rules(config);
    for (let i = 1; i < 40; i++) {
      const loss = 1 / Math.min(i, 12);
      expect(broken.after(i, 'a', loss, 0)).toEqual(whole.after(i, 'a', loss, 0));
      broken = rules(config, JSON.parse(JSON.stringify(broken.state())));
    }
  });
});
