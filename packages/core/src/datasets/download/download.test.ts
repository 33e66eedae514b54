import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { D2vError } from '../../errors.js';
import { FaultServer } from '../../testing/fault-server.js';
import { type DownloadRequest, type DownloadSettings, download } from './download.js';
import { fetchText } from './fetch-text.js';
import { RateLimiter } from './rate-limit.js';

// A busy disk takes its time to flush.
vi.setConfig({ testTimeout: 60_000 });

const md5 = (bytes: Uint8Array) => createHash('md5').update(bytes).digest('hex');
const content = randomBytes(700_001);
const other = randomBytes(700_001);

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
    {
      chunkBytes: 100_000,
      backoffScale: 0.002,
      onRetry: (message) => retries.push(message),
      ...settings,
    },
  );
/** The whole file is there under its name, and nothing beside it. */
const expectWhole = async (expected: Buffer = content) => {
  expect(md5(await readFile(path()))).toBe(md5(expected));
  expect(await readdir(folder)).toEqual(['a.bin']);
};
/** An attempt that ends in the middle and leaves its part. */
const leavePart = async (at = 350_000, request: Partial<DownloadRequest> = {}) => {
  server.fault('/a.bin', { kind: 'cut', at });
  await expect(get({ retries: 1, connections: 1 }, request)).rejects.toThrow(/kept: repeat the command/);
  server.heal('/a.bin');
  expect((await readdir(folder)).sort()).toEqual(['a.bin.part', 'a.bin.part.json']);
  server.requests.length = 0;
};

describe('download', () => {
  it('brings a file in parts over several connections, and hashes it on the way', async () => {
    const seen: number[] = [];
    const done = await get({ onProgress: (bytes) => seen.push(bytes) });
    expect(done).toEqual({
      bytes: content.length,
      checksums: { md5: md5(content) },
      url: server.url('/a.bin'),
    });
    await expectWhole();
    expect(server.requests.length).toBe(8);
    expect(seen.at(-1)).toBe(content.length);
    expect(retries).toEqual([]);
  });

  it('states the SHA-256 of what has no published checksum, and takes empty files', async () => {
    server.serve('/a.bin', '');
    const done = await get({}, { bytes: undefined, checksums: undefined });
    expect(done.checksums).toEqual({ sha256: createHash('sha256').digest('hex') });
    await expectWhole(Buffer.alloc(0));
  });

  it('goes on where the connection was cut, at any byte', async () => {
    for (const at of [0, 1, 99_999, 100_000, 100_001, 333_333, content.length - 1]) {
      for (const connections of [1, 4]) {
        server.heal('/a.bin');
        server.fault('/a.bin', { kind: 'cut', at, times: 2 });
        await get({ connections });
        await expectWhole();
        await rm(path());
      }
    }
  });

  it('goes on in another process, asking only for what is missing, and hashes what was there', async () => {
    await leavePart();
    await get({ connections: 1 });
    await expectWhole();
    expect(server.requests[0]?.range).toBe('bytes=350000-449999');
  });

  it('begins anew without a word about it where the record of the part is gone or damaged', async () => {
    for (const damage of [
      () => rm(`${path()}.part.json`),
      () => writeFile(`${path()}.part.json`, '{"format": 1, "done": [[5]]}'),
      () => truncate(`${path()}.part`, 10),
      () => rm(`${path()}.part`),
    ]) {
      await leavePart();
      await damage();
      await get();
      await expectWhole();
      await rm(path());
    }
  });

  it('begins anew when the file has changed meanwhile', async () => {
    await leavePart(350_000, { checksums: undefined });
    server.serve('/a.bin', other);
    await get({}, { checksums: undefined });
    await expectWhole(other);
    expect(retries.at(-1)).toMatch(/has changed meanwhile; beginning anew/);
  });

  it('begins anew when the file changes between the parts of one attempt', async () => {
    server.fault('/a.bin', { kind: 'cut', at: 150_000, times: 1 });
    const swap = (message: string) => {
      retries.push(message);
      server.serve('/a.bin', other);
    };
    await get({ connections: 1, onRetry: swap }, { checksums: { md5: md5(other) } });
    await expectWhole(other);
  });

  it('waits as long as the server says', async () => {
    for (const status of [429, 503]) {
      server.fault('/a.bin', { kind: 'status', status, retryAfter: 1, times: 1 });
      const start = performance.now();
      await get();
      expect(performance.now() - start).toBeGreaterThan(950);
      await expectWhole();
      await rm(path());
    }
    server.fault('/a.bin', {
      kind: 'status',
      status: 503,
      retryAfter: new Date(Date.now() + 2000).toUTCString(),
      times: 1,
    });
    await get();
    expect(retries.at(-1)).toMatch(/answers 503; trying again/);
  });

  it('does not wait for a server that wants a long pause: it goes elsewhere, or says when to come back', async () => {
    const busy = server.url('/busy.bin');
    server.serve('/busy.bin', content);
    server.fault('/busy.bin', { kind: 'status', status: 429, retryAfter: 3000 });
    await expect(get({}, { urls: [busy] })).rejects.toThrow(
      /answers 429 and asks to come back in 50 minutes; 0 B are kept: repeat the command in 50 minutes to go on/,
    );
    await expect(fetchText(busy, {})).rejects.toThrow(/429 .*: repeat the command in 50 minutes$/);
    await get({}, { urls: [busy, server.url('/a.bin')] });
    await expectWhole();
    expect(server.requests.filter((request) => request.path === '/busy.bin')).toHaveLength(3);
  });

  it('tries other failures of the server again, and says so when it gives up', async () => {
    server.fault('/a.bin', { kind: 'status', status: 502, times: 3 });
    await get();
    expect(retries.length).toBe(3);
    await rm(path());
    server.fault('/a.bin', { kind: 'status', status: 500 });
    await expect(get({ retries: 2 })).rejects.toThrow(
      /the server answers 500, again and again; 0 B are kept/,
    );
  });

  it('takes a file in one piece from a server without ranges', async () => {
    server.fault('/a.bin', { kind: 'no-range' });
    await get();
    await expectWhole();
    expect(server.requests.length).toBe(1);
  });

  it('begins anew after a cut where there are no ranges, and gives up if that never helps', async () => {
    server.fault('/a.bin', { kind: 'cut', at: 300_000, whole: true, times: 2 });
    server.fault('/a.bin', { kind: 'no-range' });
    await get();
    await expectWhole();
    expect(server.requests.length).toBe(3);
    await rm(path());
    server.heal('/a.bin');
    server.fault('/a.bin', { kind: 'cut', at: 300_000, whole: true });
    await expect(get({ retries: 2 })).rejects.toThrow(/again and again/);
  });

  it('survives a wrong Content-Length where ranges help, and names it where nothing does', async () => {
    server.fault('/a.bin', { kind: 'content-length', bytes: 100_100, times: 1 });
    await get({ connections: 1 });
    await expectWhole();
    await rm(path());
    server.serve('/b.bin', content);
    server.fault('/b.bin', { kind: 'no-range', times: 0 });
    await expect(
      download(
        { urls: [server.url('/b.bin')], path: path(), bytes: content.length + 5 },
        { backoffScale: 0.002 },
      ),
    ).rejects.toThrow(
      `the server has a file of ${content.length} bytes, published are ${content.length + 5}`,
    );
  });

  it('fetches a corrupted file again, and refuses one that stays so', async () => {
    server.fault('/a.bin', { kind: 'corrupt', at: 222_222, times: 3 });
    await get({ connections: 1 });
    await expectWhole();
    expect(retries.join()).toMatch(/its md5 is [0-9a-f]{32}, expected [0-9a-f]{32}; beginning anew/);
    await rm(path());
    server.fault('/a.bin', { kind: 'corrupt', at: 1 });
    await expect(get()).rejects.toThrow(/expected .* 3 times in a row; the source is damaged/);
    await expect(stat(path())).rejects.toThrow('ENOENT');
  });

  it('ends redirects that run in a circle, are too many, or lead nowhere', async () => {
    server.fault('/a.bin', { kind: 'redirect', to: '/a.bin' });
    await expect(get()).rejects.toThrow(
      /its redirects run in a circle: try again later, or name another source with --mirror/,
    );
    for (let i = 0; i < 12; i++) {
      server.serve(`/r${i}`, '');
      server.fault(`/r${i}`, { kind: 'redirect', to: `/r${i + 1}` });
    }
    await expect(get({}, { urls: [server.url('/r0')] })).rejects.toThrow(
      /more than 10 redirects: try again later, or name another/,
    );
    server.heal('/a.bin');
    server.fault('/a.bin', { kind: 'redirect', to: 'ftp://elsewhere/a' });
    await expect(get()).rejects.toThrow(/which is not safe: try again later, or name another/);
  });

  it('gives up connections that trickle or fall silent, and goes on', async () => {
    server.fault('/a.bin', { kind: 'slow', bytesPerSecond: 50, times: 1 });
    server.fault('/a.bin', { kind: 'silent', times: 1 });
    await get({ stallSeconds: 0.4, connections: 1 });
    await expectWhole();
    expect(retries).toHaveLength(2);
    expect(retries[0]).toMatch(/next to nothing for 0.4 s/);
  });

  it('gives up a server that trickles for ever, and goes on elsewhere', async () => {
    server.serve('/slow.bin', content);
    server.fault('/slow.bin', { kind: 'slow', bytesPerSecond: 50 });
    const slow = server.url('/slow.bin');
    const settings = { stallSeconds: 0.2, connections: 1, retries: 3 };
    await expect(get(settings, { urls: [slow] })).rejects.toThrow(
      /next to nothing for 0.2 s, again and again/,
    );
    expect(retries).toHaveLength(3);
    await get(settings, { urls: [slow, server.url('/a.bin')] });
    await expectWhole();
  });

  it('says what to do about refusals, and shows no credentials', async () => {
    const url = server.url('/a.bin?signature=secret').replace('http://', 'http://user:secret@');
    for (const [status, message] of [
      [401, /refuses access \(401\): accept the terms/],
      [403, /refuses access \(403\): accept the terms/],
      [404, /not there any more \(404\): name another source with --mirror/],
      [418, /answers 418: try again later, or name another source with --mirror/],
    ] as const) {
      server.fault('/a.bin', { kind: 'status', status, times: 1 });
      const error = await get({ howTo: 'accept the terms' }, { urls: [url] }).catch((e: Error) => e);
      expect(String(error)).toMatch(message);
      expect(String(error)).not.toContain('secret');
    }
    expect(retries).toEqual([]);
  });

  it('says that there is no such host', async () => {
    await expect(get({}, { urls: ['http://no-such-host.invalid/a.bin'] })).rejects.toThrow(
      /there is no host no-such-host.invalid|the name cannot be looked up/,
    );
  });

  it('says what to do about a server that speaks another language, and about a % in a password', async () => {
    const greeter = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.write('SSH-2.0-Example\r\n');
    });
    await new Promise<void>((resolve) => greeter.listen(0, '127.0.0.1', resolve));
    const { port } = greeter.address() as AddressInfo;
    try {
      for (const [url, message] of [
        [`http://127.0.0.1:${port}/a.bin`, /no HTTP server: check host and port/],
        [server.url('/a.bin').replace('http:', 'https:'), /does not speak https: check the port/],
        [
          server.url('/a.bin').replace('//', '//me:secret100%@'),
          /write a % in the user name or password as %25/,
        ],
      ] as const) {
        const error = await get({}, { urls: [url] }).catch((e: unknown) => e);
        expect(error).toBeInstanceOf(D2vError);
        expect((error as Error).message).toMatch(message);
        expect((error as Error).message).not.toMatch(/secret|\n/);
      }
      expect(retries).toEqual([]);
    } finally {
      greeter.close();
    }
  });

  it('tries the next address when one has not got it', async () => {
    server.serve('/gone', '');
    server.fault('/gone', { kind: 'status', status: 404 });
    await get({}, { urls: [server.url('/gone'), server.url('/a.bin')] });
    await expectWhole();
  });

  it('sends credentials to the host they are for, and not on to another', async () => {
    server.serve('/login', '');
    server.fault('/login', { kind: 'redirect', to: server.url('/a.bin', 'localhost') });
    await get({ token: 'tok' }, { urls: [server.url('/login')] });
    expect(server.requests[0]).toMatchObject({ path: '/login', authorization: 'Bearer tok' });
    expect(server.requests[1]).toMatchObject({ path: '/a.bin', authorization: null });
    await rm(path());
    server.requests.length = 0;
    await get({ token: 'tok' }, { urls: [server.url('/a.bin').replace('http://', 'http://me:p%40ss@')] });
    const basic = `Basic ${Buffer.from('me:p@ss').toString('base64')}`;
    expect(new Set(server.requests.map(({ authorization }) => authorization))).toEqual(new Set([basic]));
  });

  it('records nothing secret beside the part', async () => {
    const url = server.url('/a.bin?key=secret').replace('http://', 'http://user:secret@');
    await leavePart(350_000, { urls: [url] });
    expect(await readFile(`${path()}.part.json`, 'utf8')).not.toContain('secret');
  });

  it('keeps to a rate, over all connections', async () => {
    const start = performance.now();
    await get({ limiter: new RateLimiter(1_000_000) });
    expect(performance.now() - start).toBeGreaterThan(600);
    await expectWhole();
  });

  it('writes and records what came before it waits for the rate', async () => {
    const controller = new AbortController();
    let before = 0;
    let largest = 0;
    const onProgress = (done: number) => {
      largest = Math.max(largest, done - before);
      before = done;
    };
    const settings = { limiter: new RateLimiter(60_000), signal: controller.signal, onProgress };
    const going = get({ ...settings, chunkBytes: 1 << 20 });
    going.catch(() => undefined);
    // With whole pieces off the wire there would be nothing before a second, and then too much.
    await vi.waitFor(
      async () => {
        const { done } = JSON.parse(await readFile(`${path()}.part.json`, 'utf8')) as { done: number[][] };
        expect(done).toEqual([[0, expect.any(Number)]]);
        expect((await stat(`${path()}.part`)).size).toBeGreaterThanOrEqual(done[0]![1]!);
      },
      { timeout: 5000, interval: 20 },
    );
    controller.abort();
    await expect(going).rejects.toThrow(/abort/i);
    expect(largest).toBeLessThanOrEqual(6000);
  });

  it('takes what is called encoded where it can be told from what is', async () => {
    server.fault('/a.bin', { kind: 'encoding', encoding: 'x-gzip' });
    await get();
    await expectWhole();
    await rm(path());
    await get({}, { checksums: undefined });
    await expectWhole();
    await rm(path());
    for (const request of [{ bytes: undefined, checksums: undefined }, { bytes: content.length + 1 }]) {
      await expect(get({}, request)).rejects.toThrow(
        /compressed \(x-gzip\), unasked, 700001 bytes, and .*: name another source with --mirror, or .* --from$/,
      );
    }
    server.heal('/a.bin');
    server.fault('/a.bin', { kind: 'corrupt', at: 5, times: 1 });
    server.fault('/a.bin', { kind: 'encoding', encoding: 'gzip' });
    await get({ connections: 1 });
    await expectWhole();
    expect(retries.join()).toMatch(/its md5 is .* beginning anew/);
  });

  it('has recorded what came when it waits', async () => {
    server.fault('/a.bin', { kind: 'cut', at: 333_333 });
    const controller = new AbortController();
    const record = async () =>
      JSON.parse(await readFile(`${path()}.part.json`, 'utf8').catch(() => '{}')) as { done?: unknown };
    const going = get({ connections: 1, backoffScale: 1000, signal: controller.signal });
    going.catch(() => undefined);
    await vi.waitFor(async () => expect((await record()).done).toEqual([[0, 333_333]]), 5000);
    controller.abort();
    await expect(going).rejects.toThrow(/abort/i);
  });

  it('stops when it is told to, and keeps what came', async () => {
    const controller = new AbortController();
    const limiter = new RateLimiter(500_000);
    const going = get({ signal: controller.signal, limiter, onProgress: () => controller.abort() });
    await expect(going).rejects.toThrow(/abort/i);
    expect((await readdir(folder)).sort()).toEqual(['a.bin.part', 'a.bin.part.json']);
    await get();
    await expectWhole();
  });
});
