import { expect, it } from 'vitest';
import { isHeldOut } from './held-out.js';

it('holds out a share that follows from the names alone, however the platform writes accents', () => {
  for (let i = 0; i < 64; i++) {
    expect(isHeldOut(`caf\u00e9${i}.png`, 0.5)).toBe(isHeldOut(`cafe\u0301${i}.png`, 0.5));
  }
  const held = Array.from({ length: 10_000 }, (_, i) => isHeldOut(`${i}`, 0.2)).filter(Boolean).length;
  expect(Math.abs(held - 2000)).toBeLessThan(160);
});
