/**
 * Layers of settings: where a value came from, so that an error can name the file and line or the flag.
 */
import { readFile } from 'node:fs/promises';
import { isMap, isPair, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { D2vError } from '../errors.js';

/** Plain data as it comes from YAML, flags or TypeScript. */
export type Plain = { [key: string]: unknown };

export interface Layer {
  /** Settings, not validated yet. */
  value: Plain;
  /** Names the origin of a key for messages, e.g. `run.yaml:12` or `--set optimization.lr`. */
  where(path: readonly PropertyKey[]): string;
}

const MAX_BYTES = 1 << 20;

export const isPlain = (value: unknown): value is Plain =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);

/** A layer whose keys all have one origin. */
export function objectLayer(value: Plain, origin: string): Layer {
  return { value, where: () => origin };
}

/**
 * Parses YAML text into a layer.
 * @param file name for messages
 * @throws D2vError with file and line if it is not YAML or not a map
 */
export function yamlLayer(text: string, file: string): Layer {
  if (text.length > MAX_BYTES) throw new D2vError(`${file}: too large for a config (over 1 MiB)`);
  const lines = new LineCounter();
  const doc = parseDocument(text, {
    lineCounter: lines,
    uniqueKeys: true,
    merge: false,
    prettyErrors: false,
  });
  const problem = doc.errors[0];
  if (problem) {
    throw new D2vError(`${file}:${lines.linePos(problem.pos[0]).line}: ${problem.message.split('\n')[0]}`);
  }
  let value: unknown;
  try {
    value = doc.toJS({ maxAliasCount: 50 });
  } catch (error) {
    throw new D2vError(`${file}: ${(error as Error).message}`);
  }
  if (value === null || value === undefined) value = {};
  if (!isPlain(value)) throw new D2vError(`${file}: a config is a map of sections, such as "optimization:"`);
  return {
    value,
    where(path) {
      const offset = offsetOf(doc.contents, path);
      return offset === undefined ? file : `${file}:${lines.linePos(offset).line}`;
    },
  };
}

/** Reads a YAML config. @throws D2vError if it cannot be read or parsed */
export async function readYamlLayer(file: string): Promise<Layer> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new D2vError(`config ${file} does not exist`);
    if (code === 'EISDIR') throw new D2vError(`config ${file} is a folder: name a YAML file`);
    throw new D2vError(`config ${file} cannot be read: ${(error as Error).message}`);
  }
  return yamlLayer(text, file);
}

/** Offset in the text of the key (or list element) at a path, or of its nearest ancestor that is there. */
function offsetOf(root: unknown, path: readonly PropertyKey[]): number | undefined {
  let node = root;
  let offset: number | undefined;
  for (const key of path) {
    if (isMap(node)) {
      const pair = node.items.find(
        (item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(key),
      );
      if (!pair) return offset;
      offset = (pair.key as Node).range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(key)];
      offset = (node as Node | undefined)?.range?.[0] ?? offset;
    } else return offset;
  }
  return offset;
}
