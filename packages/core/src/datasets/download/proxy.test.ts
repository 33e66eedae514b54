import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { D2vError } from '../../errors.js';
import { FaultServer } from '../../testing/fault-server.js';
import { download } from './download.js';

let folder: string;
let server: FaultServer;
let proxy: Server;
/** What the proxy was asked to connect to. */
let asked: string[];
let verdict: number;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'd2v-proxy-'));
  server = await FaultServer.start();
  server.serve('/a.bin', 'content');
  [asked, verdict] = [[], 200];
  proxy = createServer();
  // Whatever it is asked for, it connects to the test's own server.
  proxy.on('connect', (request, socket) => {
    asked.push(request.url ?? '');
    socket.on('error', () => undefined);
    if (verdict !== 200) return void socket.end(`HTTP/1.1 ${verdict} No\r\n\r\n`);
    const target = connect(Number(new URL(server.url('/')).port), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      target.pipe(socket);
      socket.pipe(target);
    });
    target.on('error', () => socket.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  for (const name of ['http_proxy', 'HTTP_PROXY']) vi.stubEnv(name, url);
  for (const name of ['no_proxy', 'NO_PROXY']) vi.stubEnv(name, undefined);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  proxy.closeAllConnections();
  proxy.close();
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

const get = (url: string) =>
  download({ urls: [url], path: join(folder, 'a.bin') }, { backoffScale: 0.002, retries: 1 });

it('goes through the proxy of the environment', async () => {
  await get('http://files.invalid/a.bin');
  expect(asked).toEqual(['files.invalid:80']);
  expect(await readFile(join(folder, 'a.bin'), 'utf8')).toBe('content');
});

it('asks it for nothing of this machine, nor of NO_PROXY', async () => {
  await get(server.url('/a.bin'));
  vi.stubEnv('NO_PROXY', 'files.invalid');
  await expect(get('http://files.invalid/a.bin')).rejects.toThrow(
    /no host files.invalid|cannot be looked up/,
  );
  expect(asked).toEqual([]);
});

it('says when it refuses', async () => {
  verdict = 407;
  await expect(get('http://files.invalid/a.bin')).rejects.toThrow(
    `the proxy http://127.0.0.1:${(proxy.address() as AddressInfo).port}/ does not let it through (407): check HTTP_PROXY`,
  );
  vi.stubEnv('http_proxy', String(process.env.http_proxy).replace('http://', 'http://me:secret@'));
  const error = await get('http://files.invalid/a.bin').catch((e: unknown) => e);
  expect(String(error)).toMatch(/the proxy http:\/\/127/);
  expect(String(error)).not.toContain('secret');
});

it('must be the URL of one', async () => {
  for (const [value, message] of [
    ['notaurl', 'http_proxy must be the URL of a proxy, as in http://host:3128'],
    ['localhost:3128', 'http_proxy must be the URL of a proxy'],
    ['http://me:secret100%@localhost:1', 'http_proxy: write a % in the user name or password as %25'],
  ] as const) {
    vi.stubEnv('http_proxy', value);
    const error = await get('http://files.invalid/a.bin').catch((e: unknown) => e);
    expect(error).toBeInstanceOf(D2vError);
    expect(String(error)).toContain(message);
    expect(String(error)).not.toContain('secret');
  }
});
