/** GLUE's tables: tab-separated, no quoting (quotes are text), a first line with names of columns in most. */
import { D2vError } from '@d2v/core';
import type { TableColumns } from './tasks.js';

/** A row by what it is for. */
export interface GlueRow {
  text: string;
  pair: string | null;
  label: string | null;
  /** 1-based line of the file. */
  line: number;
  /** All cells. */
  cells: readonly string[];
}

export interface GlueTableContent {
  rows: GlueRow[];
  /** Lines with too few cells, which are left out, as every reader of these files does. */
  short: number;
  /** The number of a named column. @throws D2vError if there is none */
  column(name: string): number;
}

/**
 * Reads a table. Only line feeds end lines: other line separators of Unicode stand in its texts.
 * @param where the file, for messages
 * @throws D2vError if a column is missing
 */
export function readTable(bytes: Uint8Array, columns: TableColumns, where: string): GlueTableContent {
  const lines = new TextDecoder('utf-8').decode(bytes).split('\n');
  const named = typeof columns.text === 'string';
  const header = named ? cellsOf(lines[0] ?? '') : [];
  const column = (name: string | number): number => {
    const number = typeof name === 'number' ? name : header.indexOf(name);
    if (number >= 0) return number;
    throw new D2vError(`${where} has no column "${name}" (it has ${header.join(', ') || 'nothing'})`);
  };
  const text = column(columns.text);
  const pair = columns.pair === undefined ? null : column(columns.pair);
  const label = columns.label === undefined ? null : column(columns.label);
  const needed = Math.max(text, pair ?? 0, label ?? 0) + 1;
  const rows: GlueRow[] = [];
  let short = 0;
  for (let i = named ? 1 : 0; i < lines.length; i++) {
    if (lines[i]!.trim() === '') continue;
    const cells = cellsOf(lines[i]!);
    if (cells.length < needed) {
      short++;
      continue;
    }
    rows.push({
      text: cells[text]!,
      pair: pair === null ? null : cells[pair]!,
      label: label === null ? null : cells[label]!,
      line: i + 1,
      cells,
    });
  }
  return { rows, short, column };
}

const cellsOf = (line: string) => line.replace(/\r$/, '').split('\t');
