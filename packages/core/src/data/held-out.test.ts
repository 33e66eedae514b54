import { expect, it } from 'vitest';
import { dividedByName, isHeldOut } from './held-out.js';

it('holds out a share that follows from the names alone, however the platform writes accents', () => {
  for (let i = 0; i < 64; i++) {
    expect(isHeldOut(`caf\u00e9${i}.png`, 0.5)).toBe(isHeldOut(`cafe\u0301${i}.png`, 0.5));
  }
  const held = Array.from({ length: 10_000 }, (_, i) => isHeldOut(`${i}`, 0.2)).filter(Boolean).length;
  expect(Math.abs(held - 2000)).toBeLessThan(160);
});

it('divides by whole words of names; a test part is held out only where there is no other', () => {
  const divided = (...names: string[]) => dividedByName(names, (name) => name);
  expect(divided('a-train-00.tar', 'a-val-00.tar')).toEqual({
    train: ['a-train-00.tar'],
    valid: ['a-val-00.tar'],
  });
  expect(divided('training_1.tar', 'dev_1.tar', 'test_1.tar', 'other.tar')).toEqual({
    train: ['training_1.tar'],
    valid: ['dev_1.tar'],
  });
  expect(divided('train1.tar', 'TEST1.tar')).toEqual({ train: ['train1.tar'], valid: ['TEST1.tar'] });
  expect(divided('train-0.tar', 'evaluate.tar', 'latest.tar')).toBeNull();
  expect(divided('val-0.tar', 'strain.tar')).toBeNull();
});
