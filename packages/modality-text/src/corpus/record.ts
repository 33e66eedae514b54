import { D2vError, didYouMean } from '@d2v/core';
import type { TextDataConfig } from '../data-config.js';

/** The keys that are read. */
export type RecordFields = Pick<TextDataConfig, 'field' | 'pair_field' | 'label_field'>;

/** What a line of a JSONL file says. */
export interface TextRecord {
  text: string;
  /** The second text of a pair. */
  pair: string | null;
  className: string | null;
}

/**
 * The text, and if asked for the second text and the class, of one line of a JSONL file.
 * @param where file and line, for messages
 * @throws D2vError if it is no object or has no such fields
 */
export function parseRecord(
  line: string,
  { field, pair_field: pairField, label_field: labelField }: RecordFields,
  where: string,
): TextRecord {
  let record: unknown;
  try {
    record = JSON.parse(line);
  } catch (error) {
    throw new D2vError(`${where} is not JSON: ${(error as Error).message}`, { cause: error });
  }
  if (typeof record !== 'object' || record === null || Array.isArray(record)) {
    throw new D2vError(
      `${where} is not a JSON object: a record per line is expected, like {"${field}": "..."}`,
    );
  }
  const text = readText(record, field, 'data.field', where);
  const pair = pairField === null ? null : readText(record, pairField, 'data.pair_field', where);
  if (labelField === null) return { text, pair, className: null };
  const label = read(record, labelField, 'data.label_field', where);
  if (!['string', 'number', 'boolean'].includes(typeof label)) {
    throw new D2vError(
      `${where}: "${labelField}" is neither a string nor a number: choose another with data.label_field`,
    );
  }
  return { text, pair, className: String(label) };
}

function readText(record: object, field: string, setting: string, where: string): string {
  const text = read(record, field, setting, where);
  if (typeof text === 'string') return text;
  throw new D2vError(`${where}: "${field}" is not a string: choose another with ${setting}`);
}

function read(record: object, field: string, setting: string, where: string): unknown {
  if (Object.hasOwn(record, field)) return (record as Record<string, unknown>)[field];
  const there = Object.keys(record);
  throw new D2vError(
    `${where} has no field "${field}"${didYouMean(field, there)}: choose one with ${setting}`,
  );
}
