import { open } from 'node:fs/promises';
import { BadSampleError } from '@d2v/core';

/** Larger files are no single series. */
const MAX_BYTES = 64 * 2 ** 20;

/** A series: `steps` rows of `channels` values. */
export interface Series {
  data: Float32Array;
  steps: number;
  channels: number;
}

/**
 * Reads a series from a text file: a time step per line, a channel per column, separated by commas, semicolons, tabs
 * or spaces; a first line that is no numbers is a heading.
 * @throws BadSampleError saying which line is wrong
 */
export async function readSeries(path: string): Promise<Series> {
  const file = await open(path, 'r').catch((error: Error) => {
    throw new BadSampleError(path, error.message, { cause: error });
  });
  try {
    const { size } = await file.stat();
    if (size > MAX_BYTES) throw new BadSampleError(path, `${size} bytes are too many for one series`);
    return parseSeries(await file.readFile('utf8'), path);
  } finally {
    await file.close();
  }
}

/** The same for text. @param path for messages */
export function parseSeries(text: string, path: string): Series {
  const values: number[] = [];
  let channels = 0;
  let steps = 0;
  text.split(/\r\n|\n|\r/).forEach((line, number) => {
    if (line.trim() === '') return;
    const row = line
      .trim()
      .split(/\s*[,;\t]\s*|\s+/)
      .map((cell) => (cell === '' ? Number.NaN : Number(cell)));
    if (!row.every(Number.isFinite)) {
      if (steps === 0 && number === 0) return;
      throw new BadSampleError(path, `line ${number + 1} is not a row of numbers`);
    }
    if (channels === 0) channels = row.length;
    if (row.length !== channels) {
      throw new BadSampleError(
        path,
        `line ${number + 1} has ${row.length} values, the first has ${channels}`,
      );
    }
    values.push(...row);
    steps++;
  });
  if (steps < 2) throw new BadSampleError(path, 'it has fewer than two time steps');
  return { data: Float32Array.from(values), steps, channels };
}
