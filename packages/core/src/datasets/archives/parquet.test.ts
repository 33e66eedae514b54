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

it('refuses page headers with numbers that cannot be', async () => {
  const damaged = Buffer.from(
    parquetWriteBuffer({ columnData: [{ name: 'text', data: texts, type: 'STRING' }] }),
  );
  expect(await rows(await written('whole', damaged))).toHaveLength(10);
  // Each byte of the first header, with its highest bit: numbers become longer, fields move.
  for (let i = 4; i < 24; i++) {
    const content = Buffer.from(damaged);
    content[i]! ^= 0xea;
    const path = await written(`header-${i}`, content);
    const outcome = await rows(path).then(
      () => 'read',
      (error: Error) => error.message,
    );
    if (outcome !== 'read') expect(outcome).toContain(`${path}: it is damaged or no parquet file`);
  }
  // The number of nulls, as large as to leave nothing of the fields that follow: decoding would not end.
  const header = damaged.indexOf(Buffer.from([0x5c, 0x15, 20, 0x15, 0]));
  damaged[header + 4] = 0xea;
  await expect(rows(await written('nulls', damaged))).rejects.toThrow(
    /a page states the number of nulls \d+, at most 10 can be/,
  );
});

async function written(name: string, content: Buffer): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}
