import { describe, expect, test } from 'vitest';
import * as k from '../index.js';
import { clean, down, same } from '../test-support/nd.js';

/** Philox 4x32-10 with big integers. */
function philox(key: k.RngKey, block: bigint): number[] {
  const mask = 0xffffffffn;
  let [c0, c1, c2, c3] = [block & mask, block >> 32n, BigInt(key.stream), BigInt(key.update)];
  let k0 = BigInt(key.seed) & mask;
  let k1 = BigInt(key.seed) >> 32n;
  for (let round = 0; round < 10; round++) {
    const a = 0xd2511f53n * c0;
    const b = 0xcd9e8d57n * c2;
    [c0, c1, c2, c3] = [(b >> 32n) ^ c1 ^ k0, b & mask, (a >> 32n) ^ c3 ^ k1, a & mask];
    k0 = (k0 + 0x9e3779b9n) & mask;
    k1 = (k1 + 0xbb67ae85n) & mask;
  }
  return [c0, c1, c2, c3].map(Number);
}

const words = (key: k.RngKey, n: number): number[] =>
  Array.from({ length: Math.ceil(n / 4) }, (_, i) => philox(key, BigInt(i)))
    .flat()
    .slice(0, n);

const KEYS: k.RngKey[] = [
  { seed: 0, update: 0, stream: 0 },
  { seed: 2 ** 53 - 1, update: 2 ** 32 - 1, stream: 2 ** 32 - 1 },
  { seed: 1234567890123, update: 17, stream: 4 },
];

test('the reference is Philox 4x32-10 (published answers)', () => {
  expect(philox(KEYS[0]!, 0n)).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
});

describe.each(KEYS)('key $seed, $update, $stream', (key) => {
  test.each([1, 3, 64, 257])('uniform: %i numbers, bit for bit', (n) =>
    clean(() => {
      const t = k.empty([n]);
      k.uniform_(t, -1, 0.7, key);
      const range = Math.fround(0.7 + 1);
      const expected = Float32Array.from(words(key, n), (w) => -1 + range * ((w >>> 8) * 2 ** -24));
      expect(k.toArray(t)).toEqual(expected);
    })(),
  );

  test.each([1, 2, 63, 258])('normal: %i numbers', (n) =>
    clean(() => {
      const t = k.empty([n]);
      k.normal_(t, 0.5, 2, key);
      const w = words(key, n + 2);
      const got = down(t);
      for (let i = 0; i < n; i++) {
        const u1 = ((w[i & ~1]! >>> 8) + 1) * 2 ** -24;
        const u2 = (w[i | 1]! >>> 8) * 2 ** -24;
        const z =
          Math.sqrt(-2 * Math.log(u1)) * (i % 2 ? Math.sin(2 * Math.PI * u2) : Math.cos(2 * Math.PI * u2));
        expect(Math.abs(got.data[i]! - (0.5 + 2 * z))).toBeLessThan(4e-6);
      }
    })(),
  );

  test(
    'dropout takes the same words',
    clean(() => {
      const w = words(key, 130);
      const y = down(k.dropout(k.full([130], 1), 0.3, key));
      const threshold = Math.floor(0.3 * 2 ** 32);
      expect([...y.data].map((v) => v === 0)).toEqual(w.map((x) => x < threshold));
    }),
  );
});

test(
  'moments and tails of the normal numbers',
  clean(() => {
    const n = 1_000_000;
    const t = k.empty([n]);
    k.normal_(t, 0, 1, { seed: 42, update: 0, stream: 0 });
    const { data } = down(t);
    const moment = (p: number): number => data.reduce((s, x) => s + x ** p, 0) / n;
    expect(Math.abs(moment(1))).toBeLessThan(0.004);
    expect(moment(2)).toBeCloseTo(1, 2);
    expect(Math.abs(moment(3))).toBeLessThan(0.02);
    expect(Math.abs(moment(4) - 3)).toBeLessThan(0.05);
    const beyond = data.reduce((c, x) => c + (Math.abs(x) > 3 ? 1 : 0), 0) / n;
    expect(beyond).toBeCloseTo(0.0027, 3);
  }),
);

test(
  'a view takes the numbers of its own elements, whatever the threads',
  clean(() => {
    const { threads } = k.deviceInfo();
    const key = { seed: 9, update: 1, stream: 1 };
    const draws = [1, 2, 4].map((n) => {
      k.setThreads(n);
      const t = k.empty([100_001]);
      k.normal_(t, 0, 1, key);
      return k.bytes(t);
    });
    k.setThreads(threads);
    expect(same(draws[0]!, draws[1]!) && same(draws[0]!, draws[2]!)).toBe(true);
    const part = k.empty([10]).view(3, [7]);
    k.normal_(part, 0, 1, key);
    expect(same(k.bytes(part), draws[0]!.subarray(0, 28))).toBe(true);
  }),
);
