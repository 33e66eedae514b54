import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { crc32, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import lzma from 'lzma-native';
import { create, Header } from 'tar';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { makeTar, type TarFile } from '../__fixtures__/archives.js';
import { makeZip } from '../__fixtures__/zip.js';
import { decompress, readPlain } from './decompress.js';
import { extractEntries } from './extract.js';
import { cleanName } from './limits.js';
import { type ArchiveEntry, type ReadTarOptions, readTar } from './tar.js';
import { readZip } from './zip.js';

vi.setConfig({ testTimeout: 60_000 });

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'd2v-archives-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

let number = 0;
const saved = async (bytes: Uint8Array, name = 'a.tar') => {
  const path = join(folder, `${number++}-${name}`);
  await writeFile(path, bytes);
  return path;
};
async function* pieces(bytes: Buffer, size: number) {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
const contents = async (entries: AsyncIterable<ArchiveEntry>) => {
  const found: [string, string][] = [];
  for await (const entry of entries) found.push([entry.name, (await entry.read()).toString()]);
  return found;
};
const xz = (bytes: Buffer, preset: 1 | 6 = 1) =>
  new Promise<Buffer>((resolve) => lzma.compress(bytes, { preset }, (result) => resolve(result as Buffer)));
const collect = async (source: AsyncIterable<Buffer>) => {
  const parts: Buffer[] = [];
  for await (const part of source) parts.push(part);
  return Buffer.concat(parts);
};

const FILES: TarFile[] = [
  { path: 'a/', type: 'Directory' },
  { path: './a/one.txt', content: 'one' },
  { path: 'a/empty', content: '' },
  { path: `${'long/'.repeat(40)}name.bin`, content: 'x'.repeat(1500) },
  { path: 'ä/名.txt', content: 'two' },
];
const EXPECTED = [
  ['a/one.txt', 'one'],
  ['a/empty', ''],
  [`${'long/'.repeat(40)}name.bin`, 'x'.repeat(1500)],
  ['ä/名.txt', 'two'],
];

describe('readTar', () => {
  it('reads a file and streams in pieces of any size, plain, gzip and xz', async () => {
    const tar = makeTar(FILES);
    for (const bytes of [tar, gzipSync(tar), await xz(tar)]) {
      expect(await contents(readTar(await saved(bytes)))).toEqual(EXPECTED);
      for (const size of [1, 7, 511, 512, 100_000]) {
        expect(await contents(readTar(pieces(bytes, size)))).toEqual(EXPECTED);
      }
    }
  });

  it('states where each content lies, passes over what is not read, and reads in pieces', async () => {
    const tar = makeTar(FILES);
    const path = await saved(tar);
    for (const source of [path, pieces(tar, 100)]) {
      const seen: string[] = [];
      for await (const { name, offset, bytes, body } of entriesWithBody(source)) {
        expect(tar.toString('utf8', offset, offset + bytes)).toBe(EXPECTED[seen.length]![1]);
        if (seen.push(name) === 3) expect((await collect(body())).length).toBe(1500);
      }
      expect(seen).toEqual(EXPECTED.map(([name]) => name));
    }
  });

  it('reads what tar programs write: long names, pax, no end marks', async () => {
    const source = join(folder, 'tree');
    execFileSync('mkdir', ['-p', join(source, 'deep'.repeat(15), 'er'.repeat(30))]);
    await writeFile(join(source, 'deep'.repeat(15), 'er'.repeat(30), 'x.txt'), 'deep');
    await create({ file: join(folder, 'npm.tar'), cwd: source, portable: true }, ['.']);
    const path = `${'deep'.repeat(15)}/${'er'.repeat(30)}/x.txt`;
    expect(await contents(readTar(join(folder, 'npm.tar')))).toEqual([[path, 'deep']]);
    for (const format of ['gnu', 'pax', 'ustar']) {
      const file = join(folder, `${format}.tar`);
      execFileSync('tar', [`--format=${format}`, '-cf', file, '-C', source, '.']);
      expect(await contents(readTar(file))).toEqual([[path, 'deep']]);
    }
    const bare = makeTar([{ path: 'a', content: 'b' }]).subarray(0, 1024);
    expect(await contents(readTar(await saved(bare)))).toEqual([['a', 'b']]);
  });

  it('reads archives in archives', async () => {
    const inner = await xz(Buffer.from('text'));
    const middle = makeTar([{ path: 'x.xz', content: inner }]);
    const outer = await saved(await xz(makeTar([{ path: 'm.tar', content: middle }])));
    const found: string[] = [];
    for await (const m of readTar(outer)) {
      for await (const x of readTar(m.body(), { archive: m.name })) {
        found.push((await collect(decompress(x.body(), 'xz', { archive: x.name }))).toString());
      }
    }
    expect(found).toEqual(['text']);
  });

  it.each<[string, TarFile[], RegExp]>([
    ['a path upwards', [{ path: '../evil' }], /"\.\.\/evil" leads out of its folder/],
    ['one inside', [{ path: 'a/../../evil' }], /"a\/\.\.\/\.\.\/evil" leads out/],
    ['an absolute path', [{ path: '/etc/passwd' }], /"\/etc\/passwd" has an absolute path/],
    ['a drive', [{ path: 'C:evil' }], /"C:evil" names a drive/],
    ['a folder upwards', [{ path: '../evil/', type: 'Directory' }], /"\.\.\/evil\/" leads out/],
    ['a folder at the root', [{ path: '/', type: 'Directory' }], /"\/" has an absolute path/],
    ['a backslash', [{ path: '..\\evil' }], /has a backslash/],
    ['a control sign', [{ path: 'a\u0007b' }], /has control characters/],
    ['a symbolic link', [{ path: 'l', type: 'SymbolicLink', linkpath: '/etc' }], /"l" is a link to "\/etc"/],
    ['a hard link', [{ path: 'l', type: 'Link', linkpath: 'a' }], /"l" is a link to "a"/],
    ['a device', [{ path: 'd', type: 'BlockDevice' }], /"d" is a device or pipe/],
    ['a pipe', [{ path: 'p', type: 'FIFO' }], /"p" is a device or pipe/],
    ['a name twice', [{ path: 'a' }, { path: './a' }], /"\.\/a" is there twice/],
    ['a name twice in two encodings', [{ path: 'ä' }, { path: 'a\u0308' }], /is there twice/],
    ['a name without end', [{ path: 'x'.repeat(300) }], /too long/],
  ])('refuses %s, naming it', async (_, files, message) => {
    const tar = makeTar(files);
    await expect(contents(readTar(await saved(tar)))).rejects.toThrow(message);
    await expect(contents(readTar(pieces(tar, 333)))).rejects.toThrow(message);
  });

  it('counts folders, and takes the one that it stands in', async () => {
    const folders: TarFile[] = ['./', 'a/', 'a/b/'].map((path) => ({ path, type: 'Directory' }));
    const tar = makeTar([...folders, { path: 'a/b/c', content: 'x' }]);
    expect(await contents(readTar(await saved(tar)))).toEqual([['a/b/c', 'x']]);
    await expect(contents(readTar(await saved(tar), { entries: 2 }))).rejects.toThrow(/"a\/b\/" is one of/);
  });

  it('passes over what is not wanted, and judges what is', async () => {
    const strays: TarFile[] = [
      { path: '../evil/', type: 'Directory' },
      { path: '../evil', content: 'x' },
      { path: 'Icon\r', content: 'x'.repeat(600) },
      { path: 'l', type: 'SymbolicLink', linkpath: '/etc', size: 700 },
      { path: 'h', type: 'Link', linkpath: 'a' },
      { path: 'd', type: 'BlockDevice' },
      { path: 'twice' },
      { path: 'twice' },
    ];
    const wanted = (name: string) => name.endsWith('.tsv');
    const tar = makeTar([...strays, { path: './a.tsv', content: 'text' }]);
    for (const source of [await saved(tar), pieces(tar, 100)])
      expect(await contents(readTar(source, { wanted }))).toEqual([['a.tsv', 'text']]);
    await expect(contents(readTar(await saved(tar), { wanted, entries: 4 }))).rejects.toThrow(/more than 4/);
    await expect(contents(readTar(await saved(tar), { wanted, totalBytes: 500 }))).rejects.toThrow(
      /"Icon\\r" makes the content larger than 500 bytes/,
    );
    for (const [file, message] of [
      [{ path: '../x.tsv' }, /leads out/],
      [{ path: 'x.tsv', type: 'SymbolicLink', linkpath: '/etc' }, /is a link/],
      [{ path: 'a.tsv' }, /is there twice/],
    ] as [TarFile, RegExp][]) {
      const bad = makeTar([{ path: 'a.tsv' }, file]);
      await expect(contents(readTar(await saved(bad), { wanted }))).rejects.toThrow(message);
    }
  });

  it.each(['-5', '1e3', '0x10', '', '9'.repeat(20), 'Infinity'])('refuses the size %j', async (size) => {
    const record = ` size=${size}\n`;
    const length = record.length + (record.length > 8 ? 2 : 1);
    const extended = Buffer.from(`${length}${record}`);
    const header = new Header({ path: 'x', type: 'ExtendedHeader', size: extended.length, mode: 0o644 });
    const block = Buffer.alloc(512);
    header.encode(block);
    const tar = Buffer.concat([
      block,
      extended,
      Buffer.alloc(-extended.length & 511),
      makeTar([{ path: 'big' }]),
    ]);
    await expect(contents(readTar(await saved(tar)))).rejects.toThrow(/"big" has no proper size/);
  });

  it('refuses sizes of plain headers that are none', async () => {
    const sized = async (field: Buffer) => {
      const tar = makeTar([{ path: 'aaa', content: 'b' }]);
      field.copy(tar, 124);
      fixChecksum(tar);
      return contents(readTar(await saved(tar)));
    };
    await expect(sized(Buffer.alloc(12, 0xff))).rejects.toThrow(/"aaa" has no proper size/);
    await expect(sized(Buffer.from('zzzzzzzzzzz '))).rejects.toThrow(/"aaa" has no proper size/);
    await expect(sized(Buffer.from('-0000000001 '))).rejects.toThrow(/"aaa" has no proper size/);
    await expect(sized(Buffer.from([0x80, ...Array(11).fill(0xff)]))).rejects.toThrow(
      /"aaa" has no proper size \(larger than 2\^53 bytes\)/,
    );
    const huge = Buffer.from([0x80, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0]);
    await expect(sized(huge)).rejects.toThrow(/"aaa" has no proper size/);
    await expect(sized(Buffer.from('77777777777 '))).rejects.toThrow(/is larger than/);
  });

  it('refuses names that are not UTF-8', async () => {
    const tar = makeTar([{ path: 'aaa', content: 'b' }]);
    tar[1] = 0xff;
    fixChecksum(tar);
    await expect(contents(readTar(await saved(tar)))).rejects.toThrow(/a name that is not UTF-8/);
  });

  it.each<[ReadTarOptions, RegExp]>([
    [{ entryBytes: 100 }, /"b" is larger than 100 bytes/],
    [{ totalBytes: 200 }, /"b" makes the content larger than 200 bytes/],
    [{ entries: 1 }, /"b" is one of more than 1/],
  ])('keeps to limits %j', async (limits, message) => {
    const tar = makeTar([
      { path: 'a', content: 'x'.repeat(90) },
      { path: 'b', content: 'x'.repeat(150) },
    ]);
    await expect(contents(readTar(await saved(tar), limits))).rejects.toThrow(message);
  });

  it('holds little of an xz bomb, however much of it comes at once', async () => {
    const zeros = Buffer.alloc(4 << 20);
    const compressor = lzma.createCompressor({ preset: 1, threads: 1 });
    Readable.from(Array.from({ length: 75 }, () => zeros)).pipe(compressor);
    const bomb = await collect(compressor);
    const before = process.memoryUsage().external;
    let most = 0;
    const read = async () => {
      for await (const _ of decompress(pieces(bomb, bomb.length), 'xz', { archive: 'x' })) {
        most = Math.max(most, process.memoryUsage().external - before);
      }
    };
    await expect(read()).rejects.toThrow(/more than 250 times as many/);
    expect(most).toBeLessThan(150 << 20);
  });

  it('refuses bombs', async () => {
    const zeros = makeTar([{ path: 'zeros', content: Buffer.alloc(80 << 20) }]);
    for (const bomb of [gzipSync(zeros), await xz(zeros)]) {
      const drained = async () => {
        for await (const entry of readTar(pieces(bomb, 1000))) for await (const _ of entry.body());
      };
      await expect(drained()).rejects.toThrow(
        /the entry "zeros" is where \d+ compr.* more than 250 times as many/,
      );
      // Also where nobody reads it.
      await expect(contents(readTar(pieces(bomb, 1000), { wanted: () => false }))).rejects.toThrow(/"zeros"/);
    }
  });

  it('says where a damaged or cut archive ends', async () => {
    const tar = makeTar(FILES);
    await expect(contents(readTar(await saved(tar.subarray(0, 900))))).rejects.toThrow(/cut off at byte/);
    await expect(contents(readTar(pieces(tar.subarray(0, 1100), 100)))).rejects.toThrow(/cut off at byte/);
    const damaged = Buffer.from(tar);
    damaged[600]! ^= 1;
    await expect(contents(readTar(await saved(damaged)))).rejects.toThrow(/at byte 512 stands no header/);
    for (const packed of [gzipSync(tar), await xz(tar)]) {
      const cut = packed.subarray(0, packed.length - 20);
      await expect(contents(readTar(await saved(cut)))).rejects.toThrow(/damaged or cut off/);
      const broken = Buffer.from(packed);
      broken[packed.length >> 1]! ^= 0xff;
      await expect(contents(readTar(await saved(broken)))).rejects.toThrow(/damaged|cut off|no header/);
    }
  });

  it('ends with a D2vError or the content for any bytes', async () => {
    const tar = makeTar(FILES);
    await fc.assert(
      fc.asyncProperty(fc.nat(tar.length - 1), fc.integer({ min: 0, max: 255 }), async (at, value) => {
        const bytes = Buffer.from(tar);
        bytes[at] = value;
        await contents(readTar(pieces(bytes, 999))).catch((error: Error) => {
          expect(error.name).toBe('ArchiveError');
        });
      }),
      { numRuns: 300 },
    );
  });
});

describe('decompress', () => {
  it('takes several streams as one content', async () => {
    const two = Buffer.concat([await xz(Buffer.from('one ')), await xz(Buffer.from('two'), 6)]);
    expect((await collect(readPlain(await saved(two)))).toString()).toBe('one two');
    const members = Buffer.concat([gzipSync('one '), gzipSync('two')]);
    expect((await collect(readPlain(await saved(members)))).toString()).toBe('one two');
    expect((await collect(readPlain(await saved(Buffer.from('plain'))))).toString()).toBe('plain');
  });

  it('refuses xz that asks for much memory', async () => {
    const packed = await xz(Buffer.from('text'));
    // The header of the block, which begins behind that of the stream: size, flags, then the filter LZMA2 with its dictionary.
    const header = packed.subarray(12, 12 + 4 * (packed[12]! + 1));
    const at = header.indexOf(Buffer.from([0x21, 0x01]));
    // 1.5 GB.
    header[at + 2] = 37;
    header.writeUInt32LE(crc32(header.subarray(0, -4)), header.length - 4);
    await expect(collect(decompress(pieces(packed, 100), 'xz', { archive: 'x' }))).rejects.toThrow(
      /x: decoding its xz stream takes more than 128 MB of memory/,
    );
  });

  it('takes many small xz streams one after the other', async () => {
    for (let i = 0; i < 200; i++) {
      const packed = await xz(Buffer.from(`text ${i}`));
      expect((await collect(decompress(pieces(packed, 10), 'xz', { archive: 'x' }))).toString()).toBe(
        `text ${i}`,
      );
    }
  });

  it('can be left before the end', async () => {
    const packed = gzipSync(Buffer.alloc(10 << 20, 'abc'));
    for await (const part of decompress(pieces(packed, 100), 'gzip', { archive: 'x' })) {
      expect(part.length).toBeGreaterThan(0);
      break;
    }
  });
});

describe('readZip', () => {
  it('reads files, stored and deflated', async () => {
    const path = await saved(
      makeZip([
        { name: 'a/' },
        { name: 'a/one.txt', content: 'one' },
        { name: 'two.txt', content: 'two '.repeat(1000), deflate: true },
      ]),
      'a.zip',
    );
    expect(await contents(readZip(path))).toEqual([
      ['a/one.txt', 'one'],
      ['two.txt', 'two '.repeat(1000)],
    ]);
    const target = join(folder, 'unzipped');
    expect(
      await extractEntries(readZip(path), target, ({ name }) => (name === 'two.txt' ? 'b/2.txt' : null)),
    ).toEqual({
      files: 1,
      bytes: 4000,
    });
    expect((await readFile(join(target, 'b/2.txt'))).length).toBe(4000);
  });

  it.each<[string, Parameters<typeof makeZip>[0], RegExp]>([
    ['paths upwards', [{ name: '../evil', content: 'x' }], /evil/],
    ['absolute paths', [{ name: '/evil', content: 'x' }], /evil/],
    ['backslashes', [{ name: '..\\evil', content: 'x' }], /evil/],
    ['links', [{ name: 'l', content: '/etc', mode: 0o120777 }], /"l" is a link/],
    [
      'names twice',
      [
        { name: 'a', content: 'x' },
        { name: 'a', content: 'y' },
      ],
      /"a" is there twice/,
    ],
    ['bombs', [{ name: 'zeros', content: Buffer.alloc(80 << 20), deflate: true }], /zeros.*250 times/],
    ['damage', [{ name: 'a', content: 'x', crc: 5 }], /"a" is damaged/],
  ])('refuses %s', async (_, files, message) => {
    await expect(contents(readZip(await saved(makeZip(files), 'a.zip')))).rejects.toThrow(message);
  });

  it('refuses control characters, also where the name is not UTF-8', async () => {
    const zip = makeZip([{ name: 'Icon\r', content: 'x' }]);
    const old = Buffer.from(zip);
    // The old encoding of names, in which programs show control characters as signs: in both headers.
    old.writeUInt16LE(0, 6);
    old.writeUInt16LE(0, old.indexOf('PK\x01\x02') + 8);
    for (const bytes of [zip, old])
      await expect(contents(readZip(await saved(bytes, 'a.zip')))).rejects.toThrow(
        /Icon.* has control characters/,
      );
  });

  it('passes over what is not wanted, and judges what is', async () => {
    const strays = [
      { name: 'MNLI/Icon\r', content: '' },
      { name: '../evil', content: 'x' },
      { name: 'link', content: '/etc', mode: 0o120777 },
      { name: 'twice', content: '1' },
      { name: 'twice', content: '2' },
      { name: '..\\evil\\', content: 'x' },
    ];
    const wanted = (name: string) => name === 'MNLI/train.tsv';
    const read = async (files: Parameters<typeof makeZip>[0], more: ReadTarOptions = {}) =>
      contents(readZip(await saved(makeZip(files), 'a.zip'), { wanted, ...more }));
    const table = { name: 'MNLI/train.tsv', content: 'text' };
    expect(await read([...strays, table])).toEqual([['MNLI/train.tsv', 'text']]);
    expect(await read([{ ...table, name: './MNLI//train.tsv' }])).toEqual([['MNLI/train.tsv', 'text']]);
    await expect(read([table, table])).rejects.toThrow(/"MNLI\/train.tsv" is there twice/);
    await expect(read([{ ...table, mode: 0o120777 }])).rejects.toThrow(/train.tsv" is a link/);
    await expect(
      read([{ name: 'MNLI/../../x.tsv' }], { wanted: (name) => name.endsWith('.tsv') }),
    ).rejects.toThrow(/leads out/);
    await expect(read([...strays, table], { entries: 3 })).rejects.toThrow(/is one of more than 3/);
    await expect(read([...strays, table], { totalBytes: 3 })).rejects.toThrow(/larger than 3 bytes/);
  });

  it('refuses what is no zip', async () => {
    await expect(contents(readZip(await saved(Buffer.from('no zip'), 'a.zip')))).rejects.toThrow(
      /cannot be read/,
    );
  });
});

describe('extractEntries', () => {
  const extract = async (paths: string[]) => {
    const target = join(folder, `extracted-${number++}`);
    return extractEntries(
      readTar(await saved(makeTar(paths.map((path) => ({ path, content: path }))))),
      target,
    );
  };

  it.each<[string[], RegExp]>([
    [['CON'], /"CON" has a name that Windows keeps for devices/],
    [['a/con.txt'], /keeps for devices/],
    [['Lpt1.tar.gz'], /keeps for devices/],
    [['nul .txt'], /keeps for devices/],
    [['a./b'], /ends with a dot or space/],
    [['b '], /ends with a dot or space/],
    [['ab:c'], /has a name with one of/],
    [['what?'], /has a name with one of/],
    [['A.txt', 'a.txt'], /"a.txt" differs from "A.txt" only in case/],
    [['Ä/x', 'a\u0308/X'], /only in case/],
  ])('refuses %j on every system', async (paths, message) => {
    await expect(extract(paths)).rejects.toThrow(message);
  });

  it('takes names that are only like them', async () => {
    const paths = ['console.txt', 'com.txt', 'COM10', '.hidden', 'a.b', 'x/A', 'y/a'];
    expect((await extract(paths)).files).toBe(paths.length);
  });
});

it('no clean name leaves its folder', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'grapheme', maxLength: 40 }),
      fc.array(fc.constantFrom('..', '.', '/', 'a', '\\', 'C:', '\0')),
      (text, parts) => {
        for (const name of [text, parts.join('/'), parts.join('')]) {
          try {
            const clean = cleanName(name, 'x');
            expect(clean.startsWith('/') || clean.split('/').includes('..') || clean.includes('\\')).toBe(
              false,
            );
          } catch (error) {
            expect((error as Error).name).toBe('ArchiveError');
          }
        }
      },
    ),
  );
});

async function* entriesWithBody(source: string | AsyncIterable<Buffer>) {
  for await (const entry of readTar(source)) {
    yield { name: entry.name, offset: entry.offset, bytes: entry.bytes, body: () => entry.body() };
  }
}

/** Of the first header. */
function fixChecksum(tar: Buffer): void {
  tar.fill(' ', 148, 156);
  const sum = tar.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  tar.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
}
