/** JSON lines: one JSON value per line. */
import { open } from 'node:fs/promises';
import { D2vError } from '../errors.js';

const MAX_LINE = 1 << 28;

/**
 * Reads a JSONL file line by line; empty lines are skipped.
 * @param options.partialEnd do not mind a last line without line break that is no JSON (a writer was killed)
 * @throws D2vError naming file and line
 */
export async function* readJsonl(
  path: string,
  options: { partialEnd?: boolean } = {},
): AsyncGenerator<unknown> {
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    throw new D2vError(error.code === 'ENOENT' ? `${path} does not exist` : `${path}: ${error.message}`);
  });
  const decoder = new TextDecoder();
  let rest = '';
  let line = 0;
  try {
    for await (const chunk of file.createReadStream({ autoClose: false })) {
      rest += decoder.decode(chunk as Uint8Array, { stream: true });
      const lines = rest.split('\n');
      rest = lines.pop()!;
      if (rest.length > MAX_LINE) throw new D2vError(`${path}:${line + 1}: the line is too long`);
      for (const text of lines) {
        line++;
        if (text.trim() !== '') yield parseLine(text, path, line);
      }
    }
    if (rest.trim() === '') return;
    try {
      yield parseLine(rest, path, line + 1);
    } catch (error) {
      if (!options.partialEnd) throw error;
    }
  } finally {
    await file.close();
  }
}

function parseLine(text: string, path: string, line: number): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new D2vError(`${path}:${line}: not a JSON value`);
  }
}
