/** A corpus as a stream of pieces of text, in bounded memory whatever the size of its files, lines and records. */
import { D2vError } from '@d2v/core';
import type { TextDataConfig } from '../data-config.js';
import { characters, DamagedTextError } from './characters.js';
import { folderClass, type TextFile } from './files.js';
import { LineCutter, type LinePart } from './lines.js';
import { parseRecord, type RecordFields } from './record.js';

/** A line, record or file, or a part of a long one. */
export interface Piece {
  text: string;
  /** Index of its file. */
  file: number;
  /** 1-based. */
  line: number;
  className: string | null;
  /** Whether a document begins here. */
  startsDocument: boolean;
  /** Whether the line, record or file ends here. */
  endsItem: boolean;
  /** Whether the first text of a pair ends here: the second one follows in the same item. */
  endsFirst: boolean;
}

export type CorpusOptions = RecordFields & Pick<TextDataConfig, 'item' | 'label'>;

export interface CorpusHandlers {
  onPiece(piece: Piece): void;
  log(message: string): void;
  /** Told of a damaged file after its last piece; without it, the log is. */
  onDamaged?(file: number, reason: string): void;
}

/** Longest piece in characters. */
export const LONGEST_PIECE = 1 << 20;
/** Longest line of a JSONL file in characters: a record is parsed as a whole. */
const LONGEST_RECORD = 1 << 28;

/** What was found wrong while reading. */
export interface CorpusReport {
  /** Files that could not be read to their end, and why. */
  damaged: { name: string; reason: string }[];
}

/**
 * Reads files one after the other. A file that is damaged is read up to there and reported.
 * @throws D2vError for a record that is no JSON or has no text
 */
export async function readCorpus(
  files: readonly TextFile[],
  options: CorpusOptions,
  handlers: CorpusHandlers,
): Promise<CorpusReport> {
  const damaged: CorpusReport['damaged'] = [];
  for (const [index, file] of files.entries()) {
    const cutter = file.jsonl
      ? recordReader(file, index, options, handlers)
      : textReader(file, index, options, handlers);
    let damage: string | null = null;
    try {
      const warn = () => handlers.log(`${file.path}: bytes that are no UTF-8 are read as U+FFFD`);
      for await (const text of characters(file, warn)) cutter.push(text);
    } catch (error) {
      if (!(error instanceof DamagedTextError)) throw error;
      damage = error.message;
    }
    // A record that is cut off is no JSON.
    if (damage === null || !file.jsonl) cutter.end();
    if (damage === null) continue;
    damaged.push({ name: file.name, reason: damage });
    if (handlers.onDamaged) handlers.onDamaged(index, damage);
    else handlers.log(`${damage}; used up to there`);
  }
  return { damaged };
}

/** Plain text: lines, with documents between empty ones. */
function textReader(file: TextFile, index: number, options: CorpusOptions, { onPiece }: CorpusHandlers) {
  const className = folderClass(file, options.label);
  const byLine = options.item === 'line';
  let startsDocument = true;
  let begun = false;
  return new LineCutter(LONGEST_PIECE, byLine, ({ text, line, first, last }: LinePart) => {
    if (first) begun = false;
    let part = begun ? text : text.trimStart();
    if (last) part = part.trimEnd();
    const ends = last && (begun || part !== '');
    if (part !== '' || ends) {
      const piece = { text: part, file: index, line, className };
      onPiece({ ...piece, startsDocument, endsItem: ends, endsFirst: false });
      startsDocument = false;
      begun = true;
    } else if (last) {
      startsDocument = true;
    }
  });
}

/** JSONL: every record is a document. */
function recordReader(file: TextFile, index: number, options: CorpusOptions, { onPiece }: CorpusHandlers) {
  const fallback = folderClass(file, options.label);
  return new LineCutter(LONGEST_RECORD, true, ({ text, line, last }: LinePart) => {
    const where = `${file.path}:${line}`;
    if (!last)
      throw new D2vError(`${where}: a record of more than ${LONGEST_RECORD} characters: split it up`);
    if (text.trim() === '') return;
    const record = parseRecord(text, options, where);
    const texts = [record.text, record.pair ?? ''].map((body) => body.trim()).filter((body) => body !== '');
    const className = record.className ?? fallback;
    for (const [number, body] of texts.entries()) {
      const lastText = number === texts.length - 1;
      const cutter = new LineCutter(LONGEST_PIECE, false, (part) => {
        onPiece({
          text: part.text,
          file: index,
          line,
          className,
          startsDocument: part.first && number === 0,
          endsItem: part.last && lastText,
          endsFirst: part.last && !lastText,
        });
      });
      cutter.push(body);
      cutter.end();
    }
  });
}
