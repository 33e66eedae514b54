/** Writing embeddings as they come, in the format that the file's ending names. */
import type { AtomicFile, EmbeddedBatch, NpyWriter, SafetensorsRowWriter } from '@d2v/core';
import { CliError } from './failure.js';

export interface EmbeddingSink {
  append(batch: EmbeddedBatch): Promise<void>;
  /** Gives the files their names. @returns those written */
  finish(): Promise<string[]>;
  /** Removes what was written; does nothing after `finish`. */
  abort(): Promise<void>;
}

export type SinkFormat = 'npy' | 'safetensors' | 'jsonl';

/** The format of `--out`. @throws CliError for another ending */
export function formatOf(path: string): SinkFormat {
  const ending = /\.(npy|safetensors|jsonl)$/i.exec(path)?.[1];
  if (!ending) throw new CliError(`--out ${path}: the name must end in .npy, .safetensors or .jsonl`);
  return ending.toLowerCase() as SinkFormat;
}

/** @param metadata texts for the header of a safetensors file */
export async function openSink(path: string, metadata: Record<string, string>): Promise<EmbeddingSink> {
  const format = formatOf(path);
  return format === 'jsonl' ? JsonlSink.open(path) : new MatrixSink(path, format, metadata);
}

/** Writes; an error of the system (a full disk) then names the file, which those of open files do not. */
async function naming<T>(path: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    const { code, path: named } = error as NodeJS.ErrnoException;
    if (code !== undefined && named === undefined) Object.assign(error as Error, { path });
    throw error;
  }
}

/** One line per sample: name, label and class if known, embedding (one vector, or one per token). */
class JsonlSink implements EmbeddingSink {
  private constructor(
    private readonly path: string,
    private readonly file: AtomicFile,
  ) {}

  static async open(path: string): Promise<JsonlSink> {
    const { openAtomic } = await import('@d2v/core');
    return new JsonlSink(path, await openAtomic(path));
  }

  async append(batch: EmbeddedBatch): Promise<void> {
    const [rows = 0] = batch.shape;
    const size = batch.data.length / Math.max(1, rows);
    const tokens = batch.shape.length === 3 ? batch.shape[1]! : 0;
    let text = '';
    for (let i = 0; i < rows; i++) {
      const row = batch.data.subarray(i * size, (i + 1) * size);
      const embedding = tokens > 0 ? tokenRows(row, tokens, batch.padding, i) : [...row].map(short);
      text += `${JSON.stringify({ ...identity(batch, i), embedding })}\n`;
    }
    await naming(this.path, () => this.file.handle.appendFile(text));
  }

  async finish(): Promise<string[]> {
    await naming(this.path, () => this.file.commit());
    return [this.path];
  }

  async abort(): Promise<void> {
    await this.file.abort();
  }
}

/** An array with one row per sample, and an index beside it that names the rows. */
class MatrixSink implements EmbeddingSink {
  private writer?: NpyWriter | SafetensorsRowWriter;
  private index?: AtomicFile;
  private rowShape?: number[];
  private rows = 0;
  private readonly labels: number[] = [];

  constructor(
    private readonly path: string,
    private readonly format: 'npy' | 'safetensors',
    private readonly metadata: Record<string, string>,
  ) {}

  private get indexPath(): string {
    return this.path.replace(/\.[^.]+$/, '.index.jsonl');
  }

  async append(batch: EmbeddedBatch): Promise<void> {
    const [rows = 0, ...rowShape] = batch.shape;
    const { writer, index } = await this.open(rowShape);
    if (rowShape.join() !== this.rowShape?.join() || (rowShape.length > 1 && batch.padding)) {
      throw new CliError(
        'the inputs have different numbers of tokens, which no array can hold: write .jsonl, or use --pool mean',
      );
    }
    await naming(this.path, () => writer.append(batch.data));
    let text = '';
    for (let i = 0; i < rows; i++)
      text += `${JSON.stringify({ row: this.rows + i, ...identity(batch, i) })}\n`;
    await naming(this.indexPath, () => index.handle.appendFile(text));
    this.rows += rows;
    if (batch.labels) this.labels.push(...batch.labels);
  }

  private async open(rowShape: number[]) {
    if (!this.writer || !this.index) {
      const core = await import('@d2v/core');
      this.rowShape = rowShape;
      this.index = await core.openAtomic(this.indexPath);
      this.writer = await naming<NpyWriter | SafetensorsRowWriter>(this.path, () =>
        this.format === 'npy'
          ? core.NpyWriter.create(this.path, rowShape)
          : core.SafetensorsRowWriter.create(this.path, 'features', rowShape),
      );
    }
    return { writer: this.writer, index: this.index };
  }

  finish(): Promise<string[]> {
    return naming(this.path, () => this.finishAll());
  }

  private async finishAll(): Promise<string[]> {
    const { writer, index, labels, rows } = this;
    if (!writer || !index) return [];
    if ('finish' in writer && this.format === 'npy') await (writer as NpyWriter).finish();
    else {
      const bytes = new Uint8Array(Int32Array.from(labels).buffer);
      const extra =
        labels.length === rows ? [{ name: 'labels', dtype: 'i32' as const, shape: [rows], bytes }] : [];
      await (writer as SafetensorsRowWriter).finish(extra, this.metadata);
    }
    await index.commit();
    return [this.path, this.indexPath];
  }

  async abort(): Promise<void> {
    await this.writer?.abort();
    await this.index?.abort();
  }
}

function identity(batch: EmbeddedBatch, i: number) {
  const label = batch.labels?.[i];
  const labelled = label !== undefined && label >= 0;
  const whose = batch.modality === undefined ? {} : { modality: batch.modality };
  return { name: batch.names[i], ...whose, ...(labelled && { label, class: batch.classes?.[label] }) };
}

/** Seven digits say all that a float32 has. */
const short = (value: number): number => Number(value.toPrecision(7));

/** One vector per token, padding left out. */
function tokenRows(
  row: Float32Array,
  tokens: number,
  padding: Uint8Array | null,
  sample: number,
): number[][] {
  const width = row.length / tokens;
  const result: number[][] = [];
  for (let t = 0; t < tokens; t++) {
    if (padding?.[sample * tokens + t] === 1) continue;
    result.push([...row.subarray(t * width, (t + 1) * width)].map(short));
  }
  return result;
}
