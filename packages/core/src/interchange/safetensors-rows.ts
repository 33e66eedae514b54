import { D2vError } from '../errors.js';
import { type AtomicFile, openAtomic } from './atomic-stream.js';
import { encodeHeader, type TensorEntry, writeAll } from './safetensors-writer.js';

/** Room for the header, which is written when the number of rows is known. */
const RESERVED = 8192;

/**
 * Writes one float32 tensor row by row, and small tensors after it, into a safetensors file that appears under its
 * name when `finish` is called.
 */
export class SafetensorsRowWriter {
  private rows = 0;

  private constructor(
    private readonly file: AtomicFile,
    private readonly name: string,
    private readonly rowShape: readonly number[],
  ) {}

  /**
   * @param name of the tensor
   * @param rowShape shape of one row, e.g. `[768]`
   */
  static async create(
    path: string,
    name: string,
    rowShape: readonly number[],
  ): Promise<SafetensorsRowWriter> {
    const file = await openAtomic(path);
    try {
      await writeAll(file.handle, new Uint8Array(RESERVED));
    } catch (error) {
      await file.abort();
      throw error;
    }
    return new SafetensorsRowWriter(file, name, rowShape);
  }

  /** @param data whole rows */
  async append(data: Float32Array): Promise<void> {
    const size = this.rowShape.reduce((a, b) => a * b, 1);
    if (data.length % size !== 0)
      throw new D2vError(`${data.length} numbers are no whole rows of [${this.rowShape}]`);
    await writeAll(this.file.handle, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    this.rows += data.length / size;
  }

  /** @param extra small tensors of 4-byte or 1-byte elements, wide ones first */
  async finish(extra: readonly TensorEntry[], metadata: Record<string, string>): Promise<void> {
    const shape = [this.rows, ...this.rowShape];
    const placed = [
      { name: this.name, dtype: 'F32', shape, byteLength: 4 * shape.reduce((a, b) => a * b, 1) },
    ];
    for (const { name, dtype, shape: size, bytes } of extra) {
      const content = typeof bytes === 'function' ? bytes() : bytes;
      await writeAll(this.file.handle, content);
      placed.push({ name, dtype, shape: [...size], byteLength: content.byteLength });
    }
    const header = encodeHeader(placed, metadata, RESERVED);
    if (header.length > RESERVED)
      throw new D2vError('the texts for the header of the safetensors file are too long');
    await writeAll(this.file.handle, header, 0);
    await this.file.commit();
  }

  async abort(): Promise<void> {
    await this.file.abort();
  }
}
