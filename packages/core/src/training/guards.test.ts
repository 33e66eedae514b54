import { describe, expect, it } from 'vitest';
import { checkCollapse, NonFiniteGuard } from './guards.js';

describe('NonFiniteGuard', () => {
  it('skips and counts, and forgets a row that was broken', () => {
    const guard = new NonFiniteGuard(3);
    expect(guard.accept(1, 'a', Number.NaN, 1)).toBe(false);
    expect(guard.accept(2, 'a', 1, Number.POSITIVE_INFINITY)).toBe(false);
    expect(guard.accept(3, 'a', 1, 1)).toBe(true);
    expect(guard.accept(4, 'a', Number.NaN, 1)).toBe(false);
    expect(guard.state()).toEqual({ skipped: 3, inRow: { a: 1 } });
  });

  it('ends a diverged run with the remedy, also across a resume', () => {
    const guard = new NonFiniteGuard(3, { skipped: 7, inRow: { a: 2 } });
    expect(() => guard.accept(9, 'a', Number.NaN, 1)).toThrow(
      /update 9 the loss is NaN.*3 updates in a row.*lr/,
    );
  });
});

it('is not misled by another modality that is well', () => {
  const guard = new NonFiniteGuard(3);
  for (const update of [1, 3]) {
    expect(guard.accept(update, 'a', Number.NaN, 1)).toBe(false);
    expect(guard.accept(update + 1, 'b', 1, 1)).toBe(true);
  }
  expect(() => guard.accept(5, 'a', Number.NaN, 1)).toThrow('3 updates of modality a in a row');
});

describe('checkCollapse', () => {
  const limits = { minTargetVar: 0.1, minPredVar: 0.01, after: 5000 };
  it('looks only after the given update', () => {
    checkCollapse(5000, { target_var: 0 }, limits);
    expect(() => checkCollapse(5001, { target_var: 0.05 }, limits)).toThrow(/targets.*target_var 0\.05/);
  });
  it('checks predictions of every modality, and can be turned off', () => {
    expect(() => checkCollapse(6000, { target_var: 1, pred_var_IMAGE: 0.001 }, limits)).toThrow(
      /predictions/,
    );
    checkCollapse(6000, { target_var: 0, pred_var: 0 }, { ...limits, minTargetVar: 0, minPredVar: 0 });
    checkCollapse(6000, { target_var: 1, pred_var: 0.5, grad_norm: 0 }, limits);
  });
});
