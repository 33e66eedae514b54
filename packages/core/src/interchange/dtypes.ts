/** Element types of safetensors and .npy files, and conversion of any of them to float32. */

export type FileDType =
  | 'F64'
  | 'F32'
  | 'F16'
  | 'BF16'
  | 'I64'
  | 'I32'
  | 'I16'
  | 'I8'
  | 'U64'
  | 'U32'
  | 'U16'
  | 'U8'
  | 'BOOL';

const SIZES: Record<FileDType, number> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
};

/** Bytes per element, or undefined for a name that is no type we know. */
export function elementSize(dtype: string): number | undefined {
  return Object.hasOwn(SIZES, dtype) ? SIZES[dtype as FileDType] : undefined;
}

/** The value of an IEEE half-precision bit pattern. */
export function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

const scratch = new DataView(new ArrayBuffer(4));

/** The value of a bfloat16 bit pattern. */
export function bfloatToFloat(bits: number): number {
  scratch.setUint32(0, bits << 16);
  return scratch.getFloat32(0);
}

/** The nearest bfloat16 bit pattern (ties to even; NaN stays NaN). */
export function floatToBfloat(value: number): number {
  scratch.setFloat32(0, value);
  const bits = scratch.getUint32(0);
  if (Number.isNaN(value)) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** Little-endian bytes of any type as float32; 64-bit integers are rounded. */
export function bytesToFloat32(dtype: FileDType, bytes: Uint8Array): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = SIZES[dtype];
  const length = Math.floor(bytes.byteLength / size);
  if (dtype === 'F32' && bytes.byteOffset % 4 === 0)
    return new Float32Array(bytes.buffer, bytes.byteOffset, length);
  const get = getter(dtype, view);
  const result = new Float32Array(length);
  for (let i = 0; i < length; i++) result[i] = get(i * size);
  return result;
}

function getter(dtype: FileDType, view: DataView): (offset: number) => number {
  switch (dtype) {
    case 'F64':
      return (i) => view.getFloat64(i, true);
    case 'F32':
      return (i) => view.getFloat32(i, true);
    case 'F16':
      return (i) => halfToFloat(view.getUint16(i, true));
    case 'BF16':
      return (i) => bfloatToFloat(view.getUint16(i, true));
    case 'I64':
      return (i) => Number(view.getBigInt64(i, true));
    case 'U64':
      return (i) => Number(view.getBigUint64(i, true));
    case 'I32':
      return (i) => view.getInt32(i, true);
    case 'U32':
      return (i) => view.getUint32(i, true);
    case 'I16':
      return (i) => view.getInt16(i, true);
    case 'U16':
      return (i) => view.getUint16(i, true);
    case 'I8':
      return (i) => view.getInt8(i);
    case 'U8':
    case 'BOOL':
      return (i) => view.getUint8(i);
    default:
      return dtype satisfies never;
  }
}
