/** NumPy's .npy files: one array each. Written row by row, so the number of rows need not be known before. */
import { D2vError } from '../errors.js';
import { type AtomicFile, openAtomic } from './atomic-stream.js';
import { type ByteSource, fileSource } from './byte-source.js';
import { bytesToFloat32, elementSize, type FileDType } from './dtypes.js';
import { writeAll } from './safetensors-writer.js';

const MAGIC = '\x93NUMPY';
/** The header always takes so many bytes: room for any shape, and the data stays aligned. */
const HEADER = 192;

const CODES: Partial<Record<FileDType, string>> = {
  F64: '<f8',
  F32: '<f4',
  F16: '<f2',
  I64: '<i8',
  I32: '<i4',
  I16: '<i2',
  I8: '|i1',
  U64: '<u8',
  U32: '<u4',
  U16: '<u2',
  U8: '|u1',
  BOOL: '|b1',
};

function encodeNpyHeader(dtype: FileDType, shape: readonly number[]): Uint8Array {
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`;
  const text = `{'descr': '${CODES[dtype]}', 'fortran_order': False, 'shape': ${tuple}, }`;
  const header = Buffer.alloc(HEADER, ' ');
  header.write(MAGIC, 0, 'latin1');
  header[6] = 1;
  header[7] = 0;
  header.writeUInt16LE(HEADER - 10, 8);
  header.write(text, 10, 'latin1');
  header[HEADER - 1] = 0x0a;
  return header;
}

/** Appends rows to an .npy file that appears under its name when `finish` is called. */
export class NpyWriter {
  private rows = 0;

  private constructor(
    private readonly file: AtomicFile,
    private readonly rowShape: readonly number[],
  ) {}

  /** @param rowShape shape of one row, e.g. `[768]` */
  static async create(path: string, rowShape: readonly number[]): Promise<NpyWriter> {
    const file = await openAtomic(path);
    try {
      await writeAll(file.handle, encodeNpyHeader('F32', [0, ...rowShape]));
    } catch (error) {
      await file.abort();
      throw error;
    }
    return new NpyWriter(file, rowShape);
  }

  /** @param data whole rows */
  async append(data: Float32Array): Promise<void> {
    const size = this.rowShape.reduce((a, b) => a * b, 1);
    if (data.length % size !== 0)
      throw new D2vError(`${data.length} numbers are no whole rows of [${this.rowShape}]`);
    await writeAll(this.file.handle, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    this.rows += data.length / size;
  }

  /** Writes the final shape and gives the file its name. */
  async finish(): Promise<void> {
    await writeAll(this.file.handle, encodeNpyHeader('F32', [this.rows, ...this.rowShape]), 0);
    await this.file.commit();
  }

  async abort(): Promise<void> {
    await this.file.abort();
  }
}

/** Writes one array. */
export async function writeNpy(path: string, data: Float32Array, shape: readonly number[]): Promise<void> {
  const writer = await NpyWriter.create(path, shape.slice(1));
  try {
    await writer.append(data);
    await writer.finish();
  } finally {
    await writer.abort();
  }
}

/**
 * Reads an .npy file (versions 1 to 3, row-major, little-endian numbers) as float32.
 * @throws D2vError if it is none or its size does not match its header
 */
export function readNpy(path: string): { data: Float32Array; shape: number[] } {
  const source = fileSource(path);
  try {
    return parseNpy(source);
  } finally {
    source.close();
  }
}

/** The same for any source of bytes. */
export function parseNpy(source: ByteSource): { data: Float32Array; shape: number[] } {
  const fail = (what: string): never => {
    throw new D2vError(`${source.name} is not a readable .npy file: ${what}`);
  };
  if (source.size < 12) fail('it is too short');
  const prefix = Buffer.from(source.read(0, 12));
  if (prefix.toString('latin1', 0, 6) !== MAGIC) fail('it does not start like one');
  const version = prefix[6]!;
  if (version < 1 || version > 3) fail(`its version is ${version}`);
  const begin = version === 1 ? 10 : 12;
  const length = version === 1 ? prefix.readUInt16LE(8) : prefix.readUInt32LE(8);
  if (length > 65_536 || begin + length > source.size) fail(`its header claims ${length} bytes`);
  const header = Buffer.from(source.read(begin, length)).toString('latin1');
  const code = /'descr':\s*'([^']*)'/.exec(header)?.[1];
  const dtype = (Object.keys(CODES) as FileDType[]).find((key) => CODES[key] === code);
  if (!dtype) fail(`elements of type ${code ?? 'unknown'} are not supported`);
  if (!/'fortran_order':\s*False/.test(header)) fail('it is column-major');
  const tuple = /'shape':\s*\(([\d\s,]*)\)/.exec(header)?.[1];
  if (tuple === undefined) fail('it has no shape');
  const shape = tuple!.split(',').flatMap((part) => (part.trim() === '' ? [] : [Number(part)]));
  const bytes = shape.reduce((product, n) => product * n, elementSize(dtype!)!);
  if (!Number.isSafeInteger(bytes) || bytes !== source.size - begin - length) {
    fail(`shape (${shape}) needs ${bytes} bytes, it has ${source.size - begin - length}`);
  }
  return { data: bytesToFloat32(dtype!, source.read(begin + length, bytes)), shape };
}
