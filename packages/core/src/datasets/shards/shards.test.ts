import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeTar } from '../__fixtures__/archives.js';
import type { StepOutput } from '../types.js';
import { findShards } from './find.js';
import { decodeIndex, encodeIndex } from './index-file.js';
import { TarShards } from './tar-shards.js';
import { type ShardSample, ShardWriter } from './writer.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'd2v-shards-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const fresh = () => mkdtemp(join(root, 'case-'));
const output = (folder: string, stated = new Map<string, [number, string]>()): StepOutput => ({
  folder,
  wrote: (name, bytes, sha256) => void stated.set(name, [bytes, sha256]),
  atEnd: () => {},
});
const write = async (
  folder: string,
  name: string,
  samples: readonly ShardSample[],
  stated?: Map<string, [number, string]>,
) => {
  const writer = await ShardWriter.create(output(folder, stated), name);
  for (const sample of samples) await writer.add(sample);
  return writer.finish();
};
const text = (value: string) => Buffer.from(value);
const sample = (i: number): ShardSample => ({
  key: `k/${i}`,
  files: { txt: text(`sample ${i} `.repeat(i)) },
  label: i % 7,
});

describe('ShardWriter', () => {
  it('writes what tar programs read, the same bytes every time, and states their digests', async () => {
    const [one, two] = [await fresh(), await fresh()];
    const samples = [sample(3), { key: `${'long/'.repeat(50)}x`, files: { bin: text('y'), jpg: text('z') } }];
    const stated = new Map<string, [number, string]>();
    expect(await write(one, 'a.tar', samples, stated)).toEqual({
      samples: 2,
      bytes: (await readFile(join(one, 'a.tar'))).length,
    });
    await write(two, 'a.tar', samples);
    for (const name of ['a.tar', 'a.tar.idx']) {
      const bytes = await readFile(join(one, name));
      expect(bytes.equals(await readFile(join(two, name)))).toBe(true);
      expect(stated.get(name)).toEqual([bytes.length, createHash('sha256').update(bytes).digest('hex')]);
    }
    execFileSync('tar', ['-xf', 'a.tar'], { cwd: one });
    expect(await readFile(join(one, 'k/3.txt'), 'utf8')).toBe('sample 3 '.repeat(3));
    expect(await readFile(join(one, 'k/3.cls'), 'utf8')).toBe('3');
    expect(await readFile(join(one, `${'long/'.repeat(50)}x.bin`), 'utf8')).toBe('y');
  });

  it('refuses a key that it has already', async () => {
    const writer = await ShardWriter.create(output(await fresh()), 'a.tar');
    await writer.add(sample(1));
    await expect(writer.add({ ...sample(1), files: { bin: text('x') } })).rejects.toThrow(
      /a\.tar: the entry .*k\/1.* is the key of an earlier sample already/,
    );
    expect(await writer.finish()).toMatchObject({ samples: 1 });
  });

  it.each(['a.b', '../a', '/a', 'a//b', ''])('refuses the key %j', async (key) => {
    const writer = await ShardWriter.create(output(await fresh()), 'a.tar');
    await expect(writer.add({ key, files: { txt: text('x') } })).rejects.toThrow(/a\.tar: the entry/);
    await writer.finish();
  });
});

describe('TarShards', () => {
  it('reads any sample of many shards in any order, with few files open', async () => {
    const folder = await fresh();
    const per = 3;
    const names = Array.from({ length: 100 }, (_, s) => `s-${String(s).padStart(3, '0')}.tar`);
    for (const [s, name] of names.entries()) {
      await write(
        folder,
        name,
        Array.from({ length: per }, (_, i) => sample(s * per + i)),
      );
    }
    const shards = await TarShards.open((await findShards(folder))!, { cacheDir: root });
    expect([shards.length, shards.fields]).toEqual([300, ['cls', 'txt']]);
    const order = Array.from({ length: 300 }, (_, i) => (i * 113) % 300);
    await Promise.all(
      order.map(async (i) => {
        expect((await shards.read(i, 'txt'))?.toString()).toBe(`sample ${i} `.repeat(i));
        expect([shards.label(i), shards.key(i)]).toEqual([i % 7, `k/${i}`]);
        expect(shards.bytes(i, 'txt')).toBe(`sample ${i} `.length * i);
      }),
    );
    const open = (await readdir('/proc/self/fd').catch(() => [])).length;
    expect(open).toBeLessThan(64 + 60);
    expect(await shards.read(0, 'jpg')).toBeNull();
    expect(shards.bytes(0, 'jpg')).toBe(-1);
    expect(shards.describe(5)).toBe(`${join(folder, 's-001.tar')}: k/5`);
    expect(() => shards.label(300)).toThrow(RangeError);
    await shards.close();
  });

  it('indexes shards of others once, in the cache', async () => {
    const [folder, cacheDir] = [await fresh(), await fresh()];
    const path = join(folder, 'web.tar');
    const tar = makeTar([
      { path: './a/0001.jpg', content: 'J1' },
      { path: './a/0001.cls', content: ' 12\n' },
      { path: './a/0001.seg.png', content: 'P' },
      { path: 'a/0002.JPG', content: 'J2' },
      { path: 'README', content: 'hi' },
    ]);
    await writeFile(path, tar);
    const logged: string[] = [];
    const opened = async () => TarShards.open([path], { cacheDir, log: (line) => logged.push(line) });
    const first = await opened();
    const all = [0, 1, 2].map((i) => [first.key(i), first.label(i)]);
    expect(all).toEqual([
      ['a/0001', 12],
      ['a/0002', -1],
      ['README', -1],
    ]);
    expect(first.fields).toEqual(['', 'cls', 'jpg', 'seg.png']);
    expect((await first.read(1, 'jpg'))?.toString()).toBe('J2');
    expect(await first.read(1, 'cls')).toBeNull();
    await first.close();
    await (await opened()).close();
    expect(logged).toEqual([`indexing ${path}, once`]);
    expect(await readdir(folder)).toEqual(['web.tar']);
    await writeFile(
      path,
      Buffer.concat([tar.subarray(0, tar.length - 1024), makeTar([{ path: 'b.jpg', content: 'x' }])]),
    );
    const changed = await opened();
    expect(changed.length).toBe(4);
    await changed.close();
  });

  it('says what is wrong with a shard', async () => {
    const folder = await fresh();
    const put = async (name: string, bytes: Buffer) => {
      await writeFile(join(folder, name), bytes);
      return TarShards.open([join(folder, name)], { cacheDir: folder });
    };
    const good = makeTar([{ path: 'a.cls', content: '1' }]);
    await expect(put('gz.tar', gzipSync(good))).rejects.toThrow(/gz.tar: it is compressed, .* unpack it/);
    await expect(put('cls.tar', makeTar([{ path: 'a.cls', content: 'cat' }]))).rejects.toThrow(
      /"a.cls" should hold a class index/,
    );
    await expect(put('cut.tar', good.subarray(0, 700))).rejects.toThrow(/cut.tar: it is cut off/);
    await expect(TarShards.open([join(folder, 'none.tar')], { cacheDir: folder })).rejects.toThrow(
      /none.tar: no such file/,
    );
    await write(folder, 'own.tar', [sample(1)]);
    const index = await readFile(join(folder, 'own.tar.idx'));
    for (const damage of [index.subarray(0, 20), Buffer.alloc(100), Buffer.concat([index, text('x')])]) {
      await writeFile(join(folder, 'own.tar.idx'), damage);
      await expect(TarShards.open([join(folder, 'own.tar')], { cacheDir: folder })).rejects.toThrow(
        /own.tar.idx: the index is damaged/,
      );
    }
  });
});

describe('findShards', () => {
  it('knows folders, files and ranges', async () => {
    const folder = await fresh();
    await mkdir(join(folder, 'empty'));
    for (const name of ['t-001.tar', 't-000.tar', 't-002.tar', 'x.txt'])
      await writeFile(join(folder, name), '');
    const at = (name: string) => join(folder, name);
    expect(await findShards(folder)).toEqual([at('t-000.tar'), at('t-001.tar'), at('t-002.tar')]);
    expect(await findShards(at('t-001.tar'))).toEqual([at('t-001.tar')]);
    expect(await findShards(at('t-{001..002}.tar'))).toEqual([at('t-001.tar'), at('t-002.tar')]);
    expect(await findShards(at('x.txt'))).toBeNull();
    expect(await findShards(at('empty'))).toBeNull();
    await expect(findShards(at('t-{001..003}.tar'))).rejects.toThrow(/t-003.tar: no such shard/);
    await expect(findShards(at('t-{2..1}.tar'))).rejects.toThrow(/must go up/);
  });
});

it('an index that points out of its shard is refused', () => {
  const bytes = encodeIndex(
    [{ key: 'a', label: 0, files: new Map([['x', { offset: 512, bytes: 600 }]]) }],
    1000,
  );
  expect(() => decodeIndex('i', bytes.length, 1000, (at, n) => bytes.subarray(at, at + n))).toThrow(
    'damaged',
  );
});
