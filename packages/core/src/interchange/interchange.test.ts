import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { D2vError } from '../errors.js';
import { writeAtomically } from './atomic-stream.js';
import { memorySource } from './byte-source.js';
import { bfloatToFloat, floatToBfloat, halfToFloat } from './dtypes.js';
import { duplicateKey } from './json-keys.js';
import { readJsonl } from './jsonl.js';
import { NpyWriter, parseNpy, readNpy, writeNpy } from './npy.js';
import { openSafetensors, parseSafetensors } from './safetensors.js';
import { SafetensorsRowWriter } from './safetensors-rows.js';
import { encodeSafetensors, type TensorEntry, writeSafetensors } from './safetensors-writer.js';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'd2v-interchange-'));
});
afterAll(() => rm(dir, { recursive: true }));

const bytesOf = (array: ArrayBufferView) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** A safetensors file from any header value or text. */
function craft(header: unknown, data = new Uint8Array(0), claim?: bigint): Uint8Array {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(claim ?? BigInt(json.length));
  return Buffer.concat([prefix, json, data]);
}

describe('safetensors', () => {
  const entries: TensorEntry[] = [
    { name: 'bytes', dtype: 'u8', shape: [3], bytes: new Uint8Array([1, 2, 3]) },
    { name: 'constructor', dtype: 'F32', shape: [2, 2], bytes: bytesOf(new Float32Array([1, 2, 3, 4])) },
    { name: 'count', dtype: 'i64', shape: [], bytes: () => bytesOf(new BigInt64Array([-5n])) },
    {
      name: 'half',
      dtype: 'bf16',
      shape: [2],
      bytes: bytesOf(new Uint16Array([floatToBfloat(1.5), floatToBfloat(-2)])),
    },
    { name: 'empty', dtype: 'f32', shape: [0, 4], bytes: new Uint8Array(0) },
  ];

  it('writes and reads back every tensor and text, and leaves nothing beside', async () => {
    const path = join(dir, 'a.safetensors');
    await writeFile(path, 'old');
    await writeSafetensors(path, entries, { format: 'd2v', note: 'é "quoted"\n' });
    const file = openSafetensors(path);
    expect(file.names.sort()).toEqual(entries.map((entry) => entry.name).sort());
    expect(file.metadata.get('note')).toBe('é "quoted"\n');
    expect([...file.readFloat32('constructor')]).toEqual([1, 2, 3, 4]);
    expect([...file.readFloat32('half')]).toEqual([1.5, -2]);
    expect([...file.readFloat32('count')]).toEqual([-5]);
    expect([...file.read('bytes')]).toEqual([1, 2, 3]);
    expect(file.info('empty')).toMatchObject({ shape: [0, 4], byteLength: 0 });
    expect(bytesOf(new Float32Array([2, 3]))).toEqual(file.readRange('constructor', 1, 2));
    expect(() => file.readRange('constructor', 3, 2)).toThrow('outside');
    expect(() => file.info('toString')).toThrow('has no tensor "toString"');
    for (const { offset, dtype } of file.tensors.values()) expect(offset % (dtype === 'I64' ? 8 : 1)).toBe(0);
    file.close();
    expect(() => file.read('bytes')).toThrow('closed');
    expect((await readdir(dir)).filter((name) => name.includes('tmp-'))).toEqual([]);
  });

  it('refuses contradictory entries', () => {
    const entry = entries[1]!;
    expect(() => encodeSafetensors([entry, entry])).toThrow('is taken');
    expect(() => encodeSafetensors([{ ...entry, shape: [3] }])).toThrow('needs 12 bytes, got 16');
    expect(() => encodeSafetensors([{ ...entry, shape: [-1] }])).toThrow('bad shape');
    expect(() => encodeSafetensors([{ ...entry, name: '__metadata__' }])).toThrow('is taken');
  });

  it('keeps the old file when writing fails', async () => {
    const path = join(dir, 'b.safetensors');
    await writeSafetensors(path, entries);
    const before = await readFile(path);
    const failing = {
      ...entries[0]!,
      bytes: () => {
        throw new Error('gone');
      },
    };
    await expect(writeSafetensors(path, [failing])).rejects.toThrow('gone');
    expect(await readFile(path)).toEqual(before);
    expect((await readdir(dir)).filter((name) => name.includes('tmp-'))).toEqual([]);
  });

  const one = { dtype: 'F32', shape: [1], data_offsets: [0, 4] };
  const four = new Uint8Array(4);
  const eight = new Uint8Array(8);
  const hostile: [string, Uint8Array, string][] = [
    ['nothing', new Uint8Array(0), 'too few'],
    ['a header length of 2^63', craft({}, eight, 1n << 63n), 'claims 9223372036854775808 bytes'],
    ['a header longer than the file', craft({}, eight, 11n), 'claims 11 bytes'],
    ['no JSON', craft('{"a": '), 'no JSON'],
    ['a list', craft('[1, 2, 3]'), 'no JSON object'],
    ['not UTF-8', craft(Buffer.from([0x7b, 0xff, 0x7d]).toString('latin1')).fill(0xff, 9, 10), 'UTF-8'],
    ['a tensor twice', craft(`{"a":${JSON.stringify(one)},"a":${JSON.stringify(one)}}`, four), '"a" twice'],
    [
      'an escaped name twice',
      craft(`{"a":${JSON.stringify(one)},"\\u0061":${JSON.stringify(one)}}`, four),
      '"a" twice',
    ],
    [
      'an offset list with a key twice',
      craft('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"shape":[2]}}', four),
      '"shape" twice',
    ],
    ['an unknown type', craft({ a: { ...one, dtype: 'F8' } }, four), 'unknown type "F8"'],
    [
      'a type named like an inherited member',
      craft({ a: { ...one, dtype: 'toString' } }, four),
      'unknown type',
    ],
    ['no description', craft({ a: null }), 'no description'],
    ['a negative size', craft({ a: { ...one, shape: [-1] } }, four), 'bad shape'],
    ['a fractional size', craft({ a: { ...one, shape: [1.5] } }, four), 'bad shape'],
    ['a shape whose product overflows', craft({ a: { ...one, shape: [2 ** 40, 2 ** 40] } }, four), 'needs'],
    ['a huge rank', craft({ a: { ...one, shape: Array(100).fill(1) } }, four), 'bad shape'],
    [
      'a shape that does not fit',
      craft({ a: { ...one, shape: [2] } }, four),
      'needs 8 bytes for its shape and type, but has 4',
    ],
    ['offsets the wrong way round', craft({ a: { ...one, data_offsets: [4, 0] } }, four), 'outside the file'],
    ['offsets beyond the end', craft({ a: { ...one, data_offsets: [4, 8] } }, four), 'outside the file'],
    ['offsets as texts', craft({ a: { ...one, data_offsets: ['0', '4'] } }, four), 'bad offsets'],
    [
      'an overlap',
      craft({ a: { ...one, shape: [2], data_offsets: [0, 8] }, b: { ...one, data_offsets: [4, 8] } }, eight),
      'overlaps',
    ],
    ['a hole', craft({ a: { ...one, data_offsets: [4, 8] } }, eight), 'follows a hole'],
    ['bytes left over', craft({ a: one }, eight), '4 bytes at its end'],
    ['metadata that is no object', craft({ __metadata__: [] }), 'is no object'],
    ['metadata that is no text', craft({ __metadata__: { a: 1 } }), 'is no text'],
  ];
  it.each(hostile)('refuses %s', (_name, bytes, message) => {
    expect(() => parseSafetensors(bytes, 'x.safetensors')).toThrow(D2vError);
    expect(() => parseSafetensors(bytes, 'x.safetensors')).toThrow(message);
    expect(() => parseSafetensors(bytes, 'x.safetensors')).toThrow(
      /^x\.safetensors is not a valid safetensors file: /,
    );
  });

  it('takes names that clash with members of objects', () => {
    const json = `{"__proto__":${JSON.stringify(one)}}`;
    expect(parseSafetensors(craft(json, four)).names).toEqual(['__proto__']);
  });

  it('gives a D2vError or a file for any damage', () => {
    const good = encodeSafetensors(entries, { a: 'b' });
    const position = fc.nat(good.length - 1);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(position, fc.nat(255)), { maxLength: 4 }),
        fc.nat(good.length),
        (changes, cut) => {
          const bytes = Uint8Array.from(good);
          for (const [at, value] of changes) bytes[at] = value;
          try {
            const file = parseSafetensors(bytes.subarray(0, bytes.length - (cut > 40 ? 0 : cut)));
            for (const name of file.names) file.readFloat32(name);
          } catch (error) {
            expect(error).toBeInstanceOf(D2vError);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it('says when a file is missing, a folder, or shrinks while open', async () => {
    expect(() => openSafetensors(join(dir, 'none'))).toThrow('does not exist');
    expect(() => openSafetensors(dir)).toThrow('not a regular file');
    const path = join(dir, 'c.safetensors');
    await writeSafetensors(path, entries);
    const file = openSafetensors(path);
    await truncate(path, 30);
    expect(() => file.read('bytes')).toThrow('became shorter');
    file.close();
  });
});

describe('rows of unknown number', () => {
  it('become a safetensors file with labels', async () => {
    const path = join(dir, 'rows.safetensors');
    const writer = await SafetensorsRowWriter.create(path, 'features', [2]);
    await writer.append(new Float32Array([1, 2]));
    await writer.append(new Float32Array([3, 4]));
    const labels = new Int32Array([7, 8]);
    await writer.finish([{ name: 'labels', dtype: 'i32', shape: [2], bytes: bytesOf(labels) }], {
      pool: 'mean',
    });
    const file = openSafetensors(path);
    expect(file.info('features').shape).toEqual([2, 2]);
    expect([...file.readFloat32('features')]).toEqual([1, 2, 3, 4]);
    expect([...file.readFloat32('labels')]).toEqual([7, 8]);
    expect(file.metadata.get('pool')).toBe('mean');
    file.close();
  });
});

describe('half-precision numbers', () => {
  it('agree with IEEE', () => {
    expect([0x3c00, 0xc000, 0x7bff, 0x0001, 0x7c00, 0x8000].map(halfToFloat)).toEqual([
      1,
      -2,
      65504,
      2 ** -24,
      Number.POSITIVE_INFINITY,
      -0,
    ]);
    expect(halfToFloat(0x7e00)).toBeNaN();
  });
  it('bfloat16 rounds to nearest even and survives a round trip', () => {
    expect(floatToBfloat(1 + 2 ** -8)).toBe(0x3f80);
    expect(floatToBfloat(1 + 3 * 2 ** -8)).toBe(0x3f82);
    expect(bfloatToFloat(floatToBfloat(Number.NaN))).toBeNaN();
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 65535 }), (bits) => {
        const value = bfloatToFloat(bits);
        if (!Number.isNaN(value)) expect(floatToBfloat(value)).toBe(bits);
      }),
    );
  });
});

describe('duplicateKey', () => {
  it('finds a repeated key of one object only', () => {
    expect(duplicateKey('{"a":{"a":1},"b":["a","a"],"c":"a\\":"}')).toBeUndefined();
    expect(duplicateKey('{"a":1, "b":[{"x":1,"x" : 2}]}')).toBe('x');
  });
  it('never finds one in what JSON.stringify writes', () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => duplicateKey(JSON.stringify(value)) === undefined));
  });
});

describe('npy', () => {
  it('writes row by row and reads back', async () => {
    const path = join(dir, 'x.npy');
    const writer = await NpyWriter.create(path, [2]);
    await writer.append(new Float32Array([1, 2]));
    await writer.append(new Float32Array([3, 4, 5, 6]));
    await expect(writer.append(new Float32Array(3))).rejects.toThrow('no whole rows');
    await writer.finish();
    expect(readNpy(path)).toEqual({ data: new Float32Array([1, 2, 3, 4, 5, 6]), shape: [3, 2] });
    const text = (await readFile(path)).toString('latin1', 0, 192);
    expect(text).toMatch(/NUMPY.{4}\{'descr': '<f4', 'fortran_order': False, 'shape': \(3, 2\), \} *\n$/s);
    await writeNpy(path, new Float32Array(3), [3]);
    expect(readNpy(path).shape).toEqual([3]);
  });

  it('refuses damage', async () => {
    const path = join(dir, 'y.npy');
    await writeNpy(path, new Float32Array([1, 2, 3]), [3]);
    const good = new Uint8Array(await readFile(path));
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(255), fc.nat(20), (at, value, cut) => {
        const bytes = Uint8Array.from(good);
        bytes[at] = value;
        try {
          parseNpy(memorySource(bytes.subarray(0, bytes.length - cut), 'y.npy'));
        } catch (error) {
          expect(error).toBeInstanceOf(D2vError);
        }
      }),
      { numRuns: 500 },
    );
    expect(() => parseNpy(memorySource(good.subarray(0, 200), 'y.npy'))).toThrow('needs 12 bytes, it has 8');
  });
});

describe('jsonl', () => {
  const read = async (text: string, options = {}) => {
    const path = join(dir, 'x.jsonl');
    await writeFile(path, text);
    const values: unknown[] = [];
    for await (const value of readJsonl(path, options)) values.push(value);
    return values;
  };
  it('reads lines, also across chunks', async () => {
    expect(await read('{"a":1}\n\n[2]\n"é"')).toEqual([{ a: 1 }, [2], 'é']);
    const long = 'é'.repeat(200_000);
    expect(await read(`"${long}"\n1\n`)).toEqual([long, 1]);
  });
  it('names the line that is none', async () => {
    await expect(read('1\n{\n')).rejects.toThrow(/x\.jsonl:2: not a JSON value$/);
    await expect(read('1\n{"a":')).rejects.toThrow(':2:');
    expect(await read('1\n{"a":', { partialEnd: true })).toEqual([1]);
  });
});

describe('writeAtomically', () => {
  it('removes what it began when the writer throws', async () => {
    const path = join(dir, 'never');
    await expect(writeAtomically(path, () => Promise.reject(new Error('stop')))).rejects.toThrow('stop');
    expect((await readdir(dir)).filter((name) => name.startsWith('never'))).toEqual([]);
  });
});
