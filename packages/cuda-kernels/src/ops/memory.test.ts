import { describe, expect, test } from 'vitest';
import * as k from '../index.js';
import { clean, down, expectClose, fromBf16, generator, nd, random, toBf16, up } from '../test-support/nd.js';

const DTYPES: k.DType[] = ['f32', 'bf16', 'f16', 'i32', 'i64', 'u8', 'f64'];

/** The value of the bits of an f16. */
function fromF16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + mantissa / 1024) : 2 ** -14 * (mantissa / 1024));
}

test(
  'making, filling, reading',
  clean(() => {
    for (const dtype of DTYPES) {
      expect(k.zeros([2, 3], dtype).shape).toEqual([2, 3]);
      const t = k.full([70_001], 3, dtype);
      expect([t.dtype, t.device, t.size, t.disposed]).toEqual([dtype, 'cpu', 70_001, false]);
      const values = k.toArray(k.cast(t, 'i32'));
      expect(values.every((x: number | bigint) => x === 3)).toBe(true);
      k.fill_(t, 0);
      expect(k.item(k.slice(t, 0, 70_000, 1))).toBe(0);
      expect(k.item(k.full([], 7, dtype))).toBe(7);
    }
    expect(k.item(k.full([1], Number.NaN))).toBeNaN();
    expect(k.item(k.full([1], Number.NaN, 'i32'))).toBe(0);
    expect(k.item(k.full([1], 1e30, 'i32'))).toBe(2147483647);
    expect(k.item(k.full([1], -5, 'u8'))).toBe(0);
    expect(Object.is(k.item(k.full([1], -0)), -0)).toBe(true);
  }),
);

test(
  'typed arrays in and out',
  clean(() => {
    const f32 = Float32Array.of(1.5, -2, 3);
    expect(k.toArray(k.fromArray(f32, [3]))).toEqual(f32);
    expect(k.toArray(k.fromArray(Float64Array.of(1.5, 2), [2]))).toEqual(Float32Array.of(1.5, 2));
    expect(k.toArray(k.fromArray(Int32Array.of(1, -2), [2, 1]))).toEqual(Int32Array.of(1, -2));
    expect(k.toArray(k.fromArray(BigInt64Array.of(2n ** 62n), [1]))).toEqual(BigInt64Array.of(2n ** 62n));
    expect(k.toArray(k.fromArray(Uint8Array.of(1, 255), [2]))).toEqual(Uint8Array.of(1, 255));
    expect(k.toArray(k.fromArray(Uint16Array.of(0x3f80), [1], { dtype: 'bf16' }))).toEqual(
      Uint16Array.of(0x3f80),
    );
    expect(k.item(k.fromArray(Uint16Array.of(0x3f80), [1], { dtype: 'bf16' }))).toBe(1);
    expect(k.item(k.fromArray(Uint16Array.of(0x3c00), [1], { dtype: 'f16' }))).toBe(1);
    expect(k.toArray(k.fromArray(f32, [3], { dtype: 'i32' }))).toEqual(Int32Array.of(1, -2, 3));
    expect(k.toArray(k.fromArray(Int32Array.of(300, -1), [2], { dtype: 'u8' }))).toEqual(
      Uint8Array.of(255, 0),
    );
    expect(() => k.fromArray(Uint16Array.of(1), [1])).toThrow('the dtype must be one of them');
    expect(() => k.fromArray(new Int16Array(1) as never, [1])).toThrow('a Int16Array is not supported');
    expect(() => k.fromArray(f32, [4])).toThrow('fromArray: data: has 3 elements, expected 4 for shape [4]');
    const dst = k.zeros([3], 'bf16');
    k.write_(dst, f32);
    expect([...down(dst).data]).toEqual([1.5, -2, 3]);
    expect(() => k.write_(dst, Float32Array.of(1))).toThrow('write_: data: has 1 elements, expected 3');
    // A typed array over a part of its buffer.
    expect(k.toArray(k.fromArray(new Float32Array([9, 1, 2, 9]).subarray(1, 3), [2]))).toEqual(
      Float32Array.of(1, 2),
    );
  }),
);

test(
  'bytes are little endian and come back',
  clean(() => {
    const t = k.fromArray(Float32Array.of(1, -2), [2]);
    expect([...k.bytes(t)]).toEqual([0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]);
    const other = k.zeros([2]);
    k.writeBytes_(other, k.bytes(t));
    expect(k.toArray(other)).toEqual(Float32Array.of(1, -2));
    expect(() => k.writeBytes_(other, new Uint8Array(7))).toThrow('has 7 bytes, expected 8 for f32[2]');
  }),
);

describe('casts', () => {
  const special = [
    0, -0, 1, -1, 1.00390625, 1.01171875, 65504, 65519, 65520, 6e-8, 5.9e-8, 2.9e-8, 2.98023e-8, 1e-40,
    3.4e38, 1e10,
  ];
  const inf = Number.POSITIVE_INFINITY;
  const next = generator(1);
  const values = Float32Array.from([
    ...special,
    ...special.map((x) => -x),
    inf,
    -inf,
    Number.NaN,
    ...Array.from({ length: 3000 }, () => (next() - 0.5) * 2 ** (next() * 60 - 35)),
  ]);

  test(
    'bf16 rounds to nearest even',
    clean(() => {
      const bits = k.toArray(k.cast(k.fromArray(values, [values.length]), 'bf16'));
      values.forEach((x, i) => {
        if (Number.isNaN(x)) expect(fromBf16(Number(bits[i]))).toBeNaN();
        else expect(bits[i]).toBe(toBf16(x));
      });
    }),
  );

  test(
    'f16 is the nearest half, ties to even',
    clean(() => {
      const bits = k.toArray(k.cast(k.fromArray(values, [values.length]), 'f16')) as Uint16Array;
      values.forEach((x, i) => {
        const got = fromF16(bits[i]!);
        if (Number.isNaN(x) || Math.abs(x) >= 65520) {
          expect(got).toBe(Math.sign(x) * inf);
          return;
        }
        const magnitude = bits[i]! & 0x7fff;
        for (const neighbour of [magnitude - 1, magnitude + 1]) {
          if (neighbour < 0 || neighbour >= 0x7c00) continue;
          const gap = Math.abs(fromF16(neighbour) - Math.abs(x)) - Math.abs(Math.abs(got) - Math.abs(x));
          expect(gap > 0 || (gap === 0 && magnitude % 2 === 0), `${x} -> ${got}`).toBe(true);
        }
      });
      expect(Object.is(fromF16(bits[1]!), -0)).toBe(true);
    }),
  );

  test(
    'every f16 widens exactly and comes back',
    clean(() => {
      const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
      const t = k.fromArray(all, [65536], { dtype: 'f16' });
      const wide = k.cast(t, 'f32');
      const floats = k.toArray(wide) as Float32Array;
      const back = k.toArray(k.cast(wide, 'f16')) as Uint16Array;
      let wrong = 0;
      all.forEach((bits, i) => {
        if (!Object.is(floats[i]!, fromF16(bits))) wrong++;
        if (!Number.isNaN(floats[i]!) && back[i] !== bits) wrong++;
      });
      expect(wrong).toBe(0);
    }),
  );

  test(
    'integers saturate, fractions are cut',
    clean(() => {
      const t = k.fromArray(Float32Array.of(1.9, -1.9, 300, -300, 3e9, -3e9, 1e19, Number.NaN, inf), [9]);
      expect([...k.toArray(k.cast(t, 'u8'))]).toEqual([1, 0, 255, 0, 255, 0, 255, 0, 255]);
      expect([...k.toArray(k.cast(t, 'i32'))]).toEqual([
        1, -1, 300, -300, 2147483647, -2147483648, 2147483647, 0, 2147483647,
      ]);
      expect(k.toArray(k.cast(t, 'i64'))).toEqual(
        BigInt64Array.of(1n, -1n, 300n, -300n, 3000000000n, -3000000000n, 2n ** 63n - 1n, 0n, 2n ** 63n - 1n),
      );
    }),
  );

  test(
    'all pairs',
    clean(() => {
      const small = Int32Array.from({ length: 33 }, (_, i) => i);
      for (const from of DTYPES) {
        for (const to of DTYPES) {
          const t = k.cast(k.fromArray(small, [33], { dtype: from }), to);
          expect(t.dtype).toBe(to);
          expect(k.toArray(k.cast(t, 'i32'))).toEqual(small);
          const dst = k.zeros([33], to);
          k.copy_(dst, k.fromArray(small, [33], { dtype: from }));
          expect(k.toArray(k.cast(dst, 'i32'))).toEqual(small);
        }
      }
    }),
  );
});

test(
  'f64 is kept to the last digit, where it is asked for',
  clean(() => {
    const values = Float64Array.of(Math.PI, -1e300, 2 ** 53 - 1);
    const t = k.fromArray(values, [3], { dtype: 'f64' });
    expect(k.toArray(t)).toEqual(values);
    expect(k.item(k.slice(t, 0, 0, 1))).toBe(Math.PI);
    expect(k.toArray(k.cast(k.cast(t, 'i64'), 'f64'))).toEqual(Float64Array.of(3, -(2 ** 63), 2 ** 53 - 1));
    expect(k.toArray(k.cast(t, 'f32'))).toEqual(Float32Array.from(values));
    k.write_(t, Float64Array.of(0.1, 0.2, 0.3));
    expect(k.toArray(t)).toEqual(Float64Array.of(0.1, 0.2, 0.3));
    k.fill_(t, 0.1);
    expect(k.item(k.slice(t, 0, 2, 1))).toBe(0.1);
    expect(() => k.add(t, t)).toThrow('add: a: expected dtype f32 or bf16, got f64');
  }),
);

test(
  'values are read later as they were',
  clean(() => {
    const [a, b] = [k.full([2], 0.1, 'f64'), k.fromArray(Int32Array.of(3, -4, 5), [3])];
    const read = k.readLater([a, b.view(1, [2])]);
    k.fill_(a, 7);
    b.dispose();
    for (let again = 0; again < 2; again++) {
      expect(read.get()).toEqual([Float64Array.of(0.1, 0.1), Int32Array.of(-4, 5)]);
    }
    expect(() => k.readLater([])).toThrow('readLater: tensors: expected an array of 1 to 4096 tensors');
    expect(() => k.readLater([b])).toThrow('readLater: tensors[0]: the tensor i32[3] is disposed');
  }),
);

test(
  'what is known of indices follows whatever is written to them',
  clean(() => {
    const table = k.zeros([4, 2]);
    const refused = (ids: k.RawTensor, value: number, at: number) =>
      expect(() => k.embedding(ids, table)).toThrow(`value ${value} at element ${at} is outside [0, 4)`);
    const ids = k.fromArray(Int32Array.of(0, 3, 2, 9), [4]);
    refused(ids, 9, 3);
    refused(ids.view(2, [2]), 9, 1);
    k.embedding(ids.view(0, [3]), table);
    k.write_(ids, Int32Array.of(0, 1, 2, 3));
    k.embedding(ids, table);
    const second = ids.view(1, [2]);
    k.write_(second, Int32Array.of(1, 5));
    refused(ids, 5, 2);
    refused(second, 5, 1);
    k.write_(second, Int32Array.of(1, 2));
    k.embedding(ids, table);
    k.fill_(second, -1);
    refused(second, -1, 0);
    k.write_(second, Int32Array.of(1, 2));
    k.copy_(second, k.full([2], 7, 'i32'));
    refused(second, 7, 0);
    k.write_(second, Int32Array.of(1, 2));
    k.writeBytes_(second, new Uint8Array(Int32Array.of(2, 4).buffer));
    refused(second, 4, 1);
    k.write_(second, Int32Array.of(1, 2));
    k.write_(second, Float32Array.of(1, 6));
    refused(second, 6, 1);
  }),
);

test(
  'views share memory and keep it alive',
  clean(() => {
    const x = random([4, 6], 1);
    const t = up(x);
    const row = t.view(6, [2, 3]);
    expectClose(
      row,
      nd([2, 3], (i) => x.data[6 + i]!),
      0,
    );
    k.fill_(row, 9);
    expect(down(t).data[11]).toBe(9);
    t.dispose();
    t.dispose();
    expect([t.disposed, row.disposed]).toEqual([true, false]);
    expect(down(row).data[0]).toBe(9);
    expect(row.reshape([6]).shape).toEqual([6]);
    expect(row.view(5, [1]).view(0, []).shape).toEqual([]);
    expect(() => row.view(4, [3])).toThrow(
      'view: shape: [3] at element 4 is beyond the 6 elements of shape [2, 3]',
    );
    expect(() => row.reshape([4])).toThrow('reshape: shape [4] has other elements than [2,3]');
    expect(() => k.item(t)).toThrow('item: t: the tensor f32[4, 6] is disposed');
    expect(t.shape).toEqual([4, 6]);
    expect(() => t.device).toThrow('disposed');
  }),
);

test(
  'copies within one memory',
  clean(() => {
    const t = k.zeros([10]);
    expect(() => k.copy_(t.view(0, [5]), t.view(2, [5]))).toThrow('copy_: src: overlaps dst in memory');
    k.copy_(t, t.view(0, [10]));
    k.copy_(t.view(0, [5]), t.view(5, [5]));
  }),
);
