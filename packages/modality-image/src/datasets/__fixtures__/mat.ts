/** MAT files of version 5 made by tests: a struct array of numbers and texts. */
import { deflateSync } from 'node:zlib';

type Field = number | string | number[];

const INT8 = 1;
const UINT16 = 4;
const INT32 = 5;
const UINT32 = 6;
const DOUBLE = 9;
const MATRIX = 14;
const COMPRESSED = 15;

function element(type: number, data: Buffer): Buffer {
  // As MATLAB does: up to 4 bytes stand in the tag.
  if (type !== MATRIX && type !== COMPRESSED && data.length > 0 && data.length <= 4) {
    const small = Buffer.alloc(8);
    small.writeUInt32LE(type | (data.length << 16));
    data.copy(small, 4);
    return small;
  }
  const tag = Buffer.alloc(8);
  tag.writeUInt32LE(type);
  tag.writeUInt32LE(data.length, 4);
  const padding = type === COMPRESSED ? 0 : -data.length & 7;
  return Buffer.concat([tag, data, Buffer.alloc(padding)]);
}

const int32 = (...values: number[]) => Buffer.from(Int32Array.from(values).buffer);

function matrix(kind: number, dimensions: [number, number], name: string, content: Buffer[]): Buffer {
  const head = [
    element(UINT32, Buffer.from(Uint32Array.of(kind, 0).buffer)),
    element(INT32, int32(...dimensions)),
    element(INT8, Buffer.from(name)),
  ];
  return element(MATRIX, Buffer.concat([...head, ...content]));
}

function field(value: Field): Buffer {
  if (typeof value === 'string')
    return matrix(4, [1, value.length], '', [element(UINT16, Buffer.from(value, 'utf16le'))]);
  const values = [value].flat();
  // Whole numbers are stored small, whatever their class is.
  const data = values.every((v) => Number.isInteger(v) && v >= 0 && v < 65_536)
    ? element(UINT16, Buffer.from(Uint16Array.from(values).buffer))
    : element(DOUBLE, Buffer.from(Float64Array.from(values).buffer));
  return matrix(6, [1, values.length], '', [data]);
}

/** A file with one variable, compressed. */
export function makeMat(name: string, rows: readonly Record<string, Field>[]): Buffer {
  const fields = Object.keys(rows[0] ?? {});
  const names = Buffer.concat(fields.map((key) => Buffer.from(key.padEnd(32, '\0'))));
  const content = rows.flatMap((row) => fields.map((key) => field(row[key]!)));
  const variable = matrix(2, [rows.length, 1], name, [
    element(INT32, int32(32)),
    element(INT8, names),
    ...content,
  ]);
  const header = Buffer.alloc(128, ' ');
  header.write('MATLAB 5.0 MAT-file, made by a test', 'latin1');
  header.writeUInt16LE(0x0100, 124);
  header.write('IM', 126, 'latin1');
  return Buffer.concat([header, element(COMPRESSED, deflateSync(variable))]);
}
