import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EmbeddedBatch, openSafetensors, readNpy } from '@d2v/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatOf, openSink } from './embedding-sink.js';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'd2v-sink-'));
});
afterAll(() => rm(dir, { recursive: true }));

const batch = (names: string[], shape: number[], more: Partial<EmbeddedBatch> = {}): EmbeddedBatch => ({
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i / 3),
  shape,
  padding: null,
  ids: names.map((_, i) => i),
  names,
  ...more,
});
const lines = async (name: string) =>
  (await readFile(join(dir, name), 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

describe('sinks', () => {
  it('join batches into one array and name its rows', async () => {
    for (const name of ['a.npy', 'a.safetensors']) {
      const sink = await openSink(join(dir, name), { pool: 'mean' });
      const labels = { labels: new Int32Array([0, 1]), classes: ['cat', 'dog'] };
      // A batch of padded inputs: the features themselves have no padding.
      await sink.append(batch(['x', 'y'], [2, 3], { ...labels, padding: new Uint8Array(8).fill(1) }));
      await sink.append(batch(['z'], [1, 3], { labels: new Int32Array([1]), classes: ['cat', 'dog'] }));
      expect(await sink.finish()).toEqual([join(dir, name), join(dir, 'a.index.jsonl')]);
    }
    expect(readNpy(join(dir, 'a.npy')).shape).toEqual([3, 3]);
    const file = openSafetensors(join(dir, 'a.safetensors'));
    expect([...file.readFloat32('labels')]).toEqual([0, 1, 1]);
    file.close();
    expect((await lines('a.index.jsonl'))[2]).toEqual({ row: 2, name: 'z', label: 1, class: 'dog' });
  });

  it('leave padding tokens out of JSON lines', async () => {
    const sink = await openSink(join(dir, 'b.jsonl'), {});
    await sink.append(batch(['x', 'y'], [2, 2, 1], { padding: new Uint8Array([0, 0, 0, 1]) }));
    await sink.append(batch(['z'], [1, 2]));
    await sink.finish();
    expect(await lines('b.jsonl')).toEqual([
      { name: 'x', embedding: [[0], [0.3333333]] },
      { name: 'y', embedding: [[0.6666667]] },
      { name: 'z', embedding: [0, 0.3333333] },
    ]);
  });

  it('refuse what no array can hold, and leave nothing behind', async () => {
    const sink = await openSink(join(dir, 'c.npy'), {});
    await sink.append(batch(['x'], [1, 2, 3]));
    await expect(sink.append(batch(['y'], [1, 4, 3]))).rejects.toThrow('different numbers of tokens');
    await sink.abort();
    expect((await readdir(dir)).filter((name) => name.startsWith('c.'))).toEqual([]);
  });

  it('know their formats', () => {
    expect(formatOf('A.NPY')).toBe('npy');
    expect(() => formatOf('a.csv')).toThrow('must end in .npy');
  });
});
