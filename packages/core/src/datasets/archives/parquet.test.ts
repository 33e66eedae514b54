import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type ParquetOptions, parquetRowCount, parquetRowGroups, readParquet } from './parquet.js';

let folder: string;
let file: string;
let bytes: Buffer;
const texts = Array.from({ length: 10 }, (_, i) => `text ${i}`);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'd2v-parquet-'));
  file = join(folder, 'a.parquet');
  const columnData = [
    { name: 'text', data: texts, type: 'STRING' as const },
    { name: 'image', data: texts.map((_, i) => Uint8Array.of(0xff, i)), type: 'BYTE_ARRAY' as const },
    { name: 'label', data: texts.map((_, i) => BigInt(i)), type: 'INT64' as const },
  ];
  bytes = Buffer.from(parquetWriteBuffer({ columnData, rowGroupSize: 4 }));
  await writeFile(file, bytes);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const rows = async (path: string, options?: ParquetOptions) => {
  const found = [];
  for await (const row of readParquet(path, options)) found.push(row);
  return found;
};

it('gives rows with texts, bytes and numbers, group by group', async () => {
  expect([await parquetRowCount(file), await parquetRowGroups(file)]).toEqual([10, [4, 4, 2]]);
  const all = await rows(file);
  expect(all.map(({ text, label }) => [text, label])).toEqual(texts.map((text, i) => [text, BigInt(i)]));
  expect(Buffer.from(all[7]!.image as Uint8Array)).toEqual(Buffer.from([0xff, 7]));
});

it('gives some columns and some rows', async () => {
  const some = await rows(file, { columns: ['text'], from: 3, rows: 6 });
  expect(some).toEqual(texts.slice(3, 9).map((text) => ({ text })));
});

it('refuses row groups beyond the limit, and damage', async () => {
  await expect(rows(file, { groupBytes: 10 })).rejects.toThrow(/a row group has \d+ bytes, more than 10/);
  for (const [name, content] of [
    ['cut', bytes.subarray(0, bytes.length - 20)],
    ['none', Buffer.from('no parquet at all')],
    ['empty', Buffer.alloc(0)],
  ] as const) {
    const path = join(folder, name);
    await writeFile(path, content);
    await expect(rows(path)).rejects.toThrow(`${path}: it is damaged or no parquet file`);
  }
});
