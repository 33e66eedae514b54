/**
 * Tables of sounds: a line of JSON each, beside the tar shard that holds them. It says where each sound lies and how long it
 * is, so that opening 281 000 of them decodes nothing; names and texts stay on the disk until somebody asks.
 */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { D2vError, z } from '@d2v/core';
import { Resampler } from '../../clips/resample.js';
import type { ClipFile } from '../../clips/source.js';
import type { BytePart } from '../../decode/bytes.js';

const rowSchema = z.strictObject({
  /** Its name, unique in its dataset. */
  id: z.string(),
  /** The file that holds it: a path, relative to the table's folder. */
  file: z.string(),
  /** Where it lies in that file, in bytes; left out: it is the whole file. */
  part: z.tuple([z.number(), z.number()]).optional(),
  /** Hz; 0 for a sound that could not be read. */
  rate: z.number(),
  /** Length in frames at that rate. */
  samples: z.number(),
  class: z.string().optional(),
  speaker: z.string().optional(),
  text: z.string().optional(),
});

export type SoundRow = z.output<typeof rowSchema>;

export const encodeTable = (rows: readonly SoundRow[]): string =>
  rows.map((row) => `${JSON.stringify(row)}\n`).join('');

const LINE_FEED = 0x0a;

/** A table on the disk. */
export class SoundTable {
  private constructor(
    private readonly path: string,
    /** Bytes where the lines begin, and the end of the last one. */
    private readonly starts: Float64Array,
  ) {}

  /**
   * Reads a table.
   * @param keep which rows become sounds
   * @param rate Hz that lengths are wanted at
   * @throws D2vError when it is missing or damaged
   */
  static open(path: string, rate: number, keep: (row: SoundRow) => boolean = () => true): TableSound[] {
    const bytes = readTable(path);
    const starts = [0];
    for (let end = bytes.indexOf(LINE_FEED); end >= 0; end = bytes.indexOf(LINE_FEED, end + 1)) {
      starts.push(end + 1);
    }
    const table = new SoundTable(path, Float64Array.from(starts));
    const sounds: TableSound[] = [];
    const classes = new Map<string, string>();
    const files = new Map<string, string>();
    for (let i = 0; i + 1 < starts.length; i++) {
      const row = parseRow(bytes.toString('utf8', starts[i], starts[i + 1]), path, i);
      if (!keep(row)) continue;
      const { class: name, samples } = row;
      // One string for all sounds of a class.
      if (name !== undefined && !classes.has(name)) classes.set(name, name);
      const length =
        row.rate === rate || row.rate === 0 ? samples : Resampler.get(row.rate, rate).outputLength(samples);
      if (!files.has(row.file)) files.set(row.file, table.resolve(row));
      const shard = row.part && files.get(row.file);
      sounds.push(
        new TableSound(table, i, length, name === undefined ? undefined : classes.get(name), shard),
      );
    }
    return sounds;
  }

  /** A row, read again. */
  row(index: number): SoundRow {
    const start = this.starts[index]!;
    const line = Buffer.allocUnsafe(this.starts[index + 1]! - start);
    const file = openSync(this.path, 'r');
    try {
      const count = readSync(file, line, 0, line.length, start);
      return parseRow(line.toString('utf8', 0, count), this.path, index);
    } finally {
      closeSync(file);
    }
  }

  /** The path of a row's file. */
  resolve({ file }: SoundRow): string {
    return resolve(dirname(this.path), file);
  }
}

/** A sound of a table as a file of clips. It holds little more than two numbers: strings are shared. */
export class TableSound implements ClipFile {
  constructor(
    private readonly table: SoundTable,
    private readonly index: number,
    readonly samples: number,
    readonly className: string | undefined,
    readonly shard: string | undefined,
  ) {}

  get path(): string {
    return this.table.resolve(this.row);
  }

  get part(): BytePart | undefined {
    const { part } = this.row;
    return part && { offset: part[0], bytes: part[1] };
  }

  get title(): string {
    const { row } = this;
    const path = this.table.resolve(row);
    return row.part ? `${path}: ${row.id}` : path;
  }

  get key(): string {
    return this.row.id;
  }

  get text(): string | undefined {
    return this.row.text;
  }

  get row(): SoundRow {
    return this.table.row(this.index);
  }
}

/** All rows of a table. @throws D2vError when it is missing or damaged */
export function readRows(path: string): SoundRow[] {
  const lines = readTable(path).toString('utf8').split('\n');
  return lines.slice(0, -1).map((line, i) => parseRow(line, path, i));
}

function readTable(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new D2vError(`cannot read ${path} (${(error as NodeJS.ErrnoException).code})`, { cause: error });
  }
}

function parseRow(line: string, path: string, index: number): SoundRow {
  try {
    return rowSchema.parse(JSON.parse(line));
  } catch {
    throw new D2vError(`${path}, line ${index + 1}, is damaged: remove the file, it is made again`);
  }
}
