import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FaultServer } from '../../testing/fault-server.js';
import { type DownloadRequest, type DownloadSettings, download } from './download.js';

const md5 = (bytes: Uint8Array) => createHash('md5').update(bytes).digest('hex');
const content = randomBytes(700_001);
const other = randomBytes(650_000);

let root: string;
let folder: string;
let server: FaultServer;
let retries: string[];
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'd2v-download-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));
beforeEach(async () => {
  folder = await mkdtemp(join(root, 'case-'));
  server = await FaultServer.start();
  server.serve('/a.bin', content);
  retries = [];
});
afterEach(() => server.close());

const path = () => join(folder, 'a.bin');
const get = (settings: DownloadSettings = {}, request: Partial<DownloadRequest> = {}) =>
  download(
    {
      urls: [server.url('/a.bin')],
      path: path(),
      bytes: content.length,
      checksums: { md5: md5(content) },
      ...request,
    },
    { chunkBytes: 100_000, backoffScale: 0.01, onRetry: (message) => retries.push(message), ...settings },
  );
/** The whole file is there under its name, and nothing beside it. */
const expectWhole = async (expected: Buffer = content) => {
  expect(md5(await readFile(path()))).toBe(md5(expected));
  expect(await readdir(folder)).toEqual(['a.bin']);
};

describe('download', () => {
  it('brings a file in parts over several connections, and hashes it on the way', async () => {
    const done = await get();
    expect(done).toMatchObject({ bytes: content.length, checksums: { md5: md5(content) } });
    await expectWhole();
    expect(server.requests.length).toBe(8);
    expect(retries).toEqual([]);
  });

  it('goes on where the connection was cut, at any byte', async () => {
    for (const at of [0, 1, 99_999, 100_000, 100_001, 333_333, content.length - 1]) {
      server.heal('/a.bin');
      server.fault('/a.bin', { kind: 'cut', at, times: 1 });
      await get({ connections: 1 });
      await expectWhole();
      await rm(path());
    }
  });
});
