/** Parquet, row group by row group: memory for one of them at a time. */
import { type FileHandle, open } from 'node:fs/promises';
import { type FileMetaData, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { ArchiveError } from './limits.js';
import { checkPages } from './parquet-pages.js';

/** A row by column name. Texts are strings, binary columns bytes, 64-bit numbers bigint; nested columns are objects. */
export type ParquetRow = Record<string, unknown>;

export interface ParquetOptions {
  /** Only these top-level columns; default: all. */
  columns?: readonly string[];
  /** The first row. Default: 0. */
  from?: number;
  /** Most rows. Default: all. */
  rows?: number;
  /** Most bytes of a row group, unpacked. Default: 2 GB. */
  groupBytes?: number;
  signal?: AbortSignal;
}

/** Number of rows, without reading them. @throws ArchiveError if it is no parquet */
export async function parquetRowCount(path: string): Promise<number> {
  return withFile(path, async (_, metadata) => Number(metadata.num_rows));
}

/** Number of rows of each row group: what is read and unpacked as one. @throws ArchiveError if it is no parquet */
export async function parquetRowGroups(path: string): Promise<number[]> {
  return withFile(path, async (_, { row_groups }) => row_groups.map((group) => Number(group.num_rows)));
}

/** The rows of a file. @throws ArchiveError when it is damaged or a bomb */
export async function* readParquet(path: string, options: ParquetOptions = {}): AsyncGenerator<ParquetRow> {
  const { columns, from = 0, rows = Infinity, groupBytes = 2 ** 31, signal } = options;
  const handle = await open(path, 'r');
  try {
    const { file, metadata } = await metadataOf(path, handle);
    let first = 0;
    for (const group of metadata.row_groups) {
      signal?.throwIfAborted();
      const rowStart = Math.max(first, from);
      first += Number(group.num_rows);
      const rowEnd = Math.min(first, from + rows);
      if (rowStart >= rowEnd) continue;
      const bytes = group.columns.reduce(
        (sum, column) => sum + Number(column.meta_data?.total_uncompressed_size ?? 0),
        0,
      );
      if (bytes > groupBytes)
        throw new ArchiveError(path, null, `a row group has ${bytes} bytes, more than ${groupBytes}`);
      yield* await damageNamed(path, async () => {
        await checkPages(file.slice, group, columns, groupBytes);
        return parquetReadObjects({
          file,
          metadata,
          compressors,
          rowStart,
          rowEnd,
          // Bytes stay bytes unless the file says that they are text.
          utf8: false,
          ...(columns && { columns: [...columns] }),
        });
      });
    }
  } finally {
    await handle.close();
  }
}

async function withFile<T>(
  path: string,
  use: (handle: FileHandle, metadata: FileMetaData) => Promise<T>,
): Promise<T> {
  const handle = await open(path, 'r');
  try {
    return await use(handle, (await metadataOf(path, handle)).metadata);
  } finally {
    await handle.close();
  }
}

async function metadataOf(path: string, handle: FileHandle) {
  const { size } = await handle.stat();
  const file = {
    byteLength: size,
    async slice(start: number, end = size): Promise<ArrayBuffer> {
      const bytes = new Uint8Array(Math.max(0, Math.min(end, size) - start));
      for (let done = 0; done < bytes.length; ) {
        const { bytesRead } = await handle.read(bytes, done, bytes.length - done, start + done);
        if (bytesRead === 0) throw new ArchiveError(path, null, `it is cut off at byte ${start + done}`);
        done += bytesRead;
      }
      return bytes.buffer;
    },
  };
  return { file, metadata: await damageNamed(path, () => parquetMetadataAsync(file)) };
}

/** Whatever the library throws on a file from outside means that the file is at fault. */
async function damageNamed<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    const code = (error as { code?: unknown } | null)?.code;
    if (error instanceof ArchiveError || (typeof code === 'string' && /^E[A-Z]+$/.test(code))) throw error;
    throw new ArchiveError(path, null, `it is damaged or no parquet file (${(error as Error).message})`, {
      cause: error,
    });
  }
}
