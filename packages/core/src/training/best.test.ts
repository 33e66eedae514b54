import { describe, expect, it } from 'vitest';
import type { RunConfig } from '../config/schema.js';
import { BestTracker } from './best.js';

const config = (metric: string | null, over: object = {}) =>
  ({
    checkpoint: { best_checkpoint_metric: metric, maximize_best_checkpoint_metric: null },
    eval: { interval_updates: 10, knn: true, linear: false, ...over },
  }) as unknown as RunConfig;

describe('BestTracker', () => {
  it('minimises the loss and maximises accuracies', () => {
    const loss = new BestTracker(config('loss'));
    expect([3, 2, 2, 2.5, 1].map((value, i) => loss.offer(i, value))).toEqual([
      true,
      true,
      false,
      false,
      true,
    ]);
    const knn = new BestTracker(config('eval/knn_top1'));
    expect([0.1, 0.3, 0.2, undefined, Number.NaN].map((value, i) => knn.offer(i, value))).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
    expect(knn.state()).toEqual({ metric: 'eval/knn_top1', value: 0.3, update: 1 });
  });

  it('goes on from a saved state, unless the metric was changed', () => {
    const state = { metric: 'loss', value: 1, update: 5 };
    expect(new BestTracker(config('loss'), state).offer(6, 2)).toBe(false);
    expect(new BestTracker(config('eval/knn_top1'), state).offer(6, 0.1)).toBe(true);
  });

  it('follows scores of features when nothing is set, and never the loss', () => {
    const knn = new BestTracker(config(null));
    expect(knn.fromEvaluation).toBe(true);
    expect(knn.offer(1, knn.pick({ loss: 9, 'eval/knn_top1': 0.5 }))).toBe(true);
    expect(knn.state()).toEqual({ metric: 'eval/knn_top1', value: 0.5, update: 1 });
    const none = new BestTracker(config(null, { interval_updates: null }), {
      metric: 'loss',
      value: 1,
      update: 5,
    });
    expect(none.offer(6, 0.1)).toBe(false);
    expect(none.state()).toBeNull();
  });

  it('refuses a metric that the run never measures', () => {
    expect(() => new BestTracker(config('eval/linear_top1'))).toThrow(/measures only loss, eval\/knn_top1/);
    expect(() => new BestTracker(config('eval/knn_top1', { interval_updates: null }))).toThrow(
      /eval\.interval_updates/,
    );
  });
});
