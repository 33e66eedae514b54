import { expect, test } from 'vitest';
import { formatGemmReport } from './report.js';

const library = 'cuBLASLt 13.1.1';

test('products that the library refuses have a line each, which scripts/gpu-check counts', () => {
  const product = '512 x 768 x 768 (m x n x k), bf16 to bf16, epilogue bias';
  const refusals = [{ product, instead: 'a product and a pass', calls: 24 }];
  expect(formatGemmReport({ library, refusals, searches: 40, searchMs: 3 })).toBe(
    `${library} refused: ${product}; a product and a pass instead, 24 times\n` +
      `${library} was asked for 40 algorithms, 75 us each`,
  );
});

test('says that nothing was refused', () => {
  expect(formatGemmReport({ library, refusals: [], searches: 0, searchMs: 0 })).toBe(
    `${library} refused no product\n${library} was asked for 0 algorithms`,
  );
});
