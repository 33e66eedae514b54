import { ArchiveError } from '../archives/limits.js';
import { readTar } from '../archives/tar.js';
import type { IndexedSample } from './index-file.js';

/** A label is a short number. */
const MOST_LABEL = 32;
/** Descriptions beyond this hold more than a class. */
const MOST_JSON = 1 << 20;

/** Key and ending of a file in a shard: the name is cut at the first dot of its last part. */
export function splitName(name: string): { key: string; ending: string } {
  const dot = name.indexOf('.', name.lastIndexOf('/') + 1);
  return dot < 0
    ? { key: name, ending: '' }
    : { key: name.slice(0, dot), ending: name.slice(dot + 1).toLowerCase() };
}

/**
 * Finds the samples of a shard by running through its headers. Files of one key that follow one another are a sample;
 * `<key>.cls` is its class index, or else `label` (or `cls`) in `<key>.json`.
 * @throws ArchiveError when it is damaged or compressed
 */
export async function indexShard(
  path: string,
  onProgress?: (bytes: number) => void,
): Promise<IndexedSample[]> {
  const samples: IndexedSample[] = [];
  let current:
    | { key: string; label: number; files: Map<string, { offset: number; bytes: number }> }
    | undefined;
  for await (const entry of readTar(path)) {
    const { key, ending } = splitName(entry.name);
    if (current?.key !== key) {
      current = { key, label: -1, files: new Map() };
      samples.push(current);
    }
    const { offset, bytes } = entry;
    if (bytes >= 0xffffffff) throw new ArchiveError(path, entry.name, 'is larger than 4 GB');
    current.files.set(ending, { offset, bytes });
    if (ending === 'cls') {
      const text = bytes > MOST_LABEL ? '' : (await entry.read()).toString('utf8').trim();
      if (!/^-?\d{1,9}$/.test(text))
        throw new ArchiveError(path, entry.name, 'should hold a class index, a whole number');
      current.label = Number(text);
    }
    // The class index of `.cls` goes before that of a description.
    if (ending === 'json' && current.label < 0 && bytes <= MOST_JSON) {
      current.label = jsonLabel(await entry.read());
    }
    onProgress?.(offset + bytes);
  }
  return samples;
}

/** `label` or `cls` of a JSON object, if that is a class index; -1 if not: other descriptions are nothing wrong. */
function jsonLabel(bytes: Buffer): number {
  try {
    const { label, cls } = (JSON.parse(bytes.toString('utf8')) ?? {}) as Record<string, unknown>;
    const found = label ?? cls;
    return Number.isInteger(found) && Math.abs(found as number) < 2 ** 31 ? (found as number) : -1;
  } catch {
    return -1;
  }
}
