import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { D2vError } from '../../errors.js';
import { FaultServer } from '../../testing/fault-server.js';
import { type DownloadSettings, download } from './download.js';
import { fetchText } from './fetch-text.js';

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

const get = (url: string, settings: DownloadSettings = {}) =>
  download({ urls: [url], path: join(folder, 'a.bin') }, { backoffScale: 0.002, retries: 1, ...settings });

/** Names a server as the only proxy that does with its connections what is given. */
async function withProxy(
  take: (socket: Socket) => void,
  use: (url: string, connections: Socket[]) => Promise<void>,
  scheme = 'http',
): Promise<void> {
  const sockets: Socket[] = [];
  const tcp = createTcpServer((socket) => {
    sockets.push(socket.on('error', () => undefined));
    take(socket);
  });
  await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve));
  const url = `${scheme}://127.0.0.1:${(tcp.address() as AddressInfo).port}`;
  for (const name of ['http_proxy', 'HTTP_PROXY']) vi.stubEnv(name, undefined);
  vi.stubEnv('https_proxy', undefined);
  vi.stubEnv(scheme === 'http' ? 'HTTPS_PROXY' : 'http_proxy', url);
  try {
    await use(url, sockets);
  } finally {
    for (const socket of sockets) socket.destroy();
    tcp.close();
  }
}
const hangUp = (socket: Socket) => void socket.once('data', () => socket.end());
const HTTPS = 'https://files.invalid/a.bin';

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

it('that hangs up is tried again as often as a server, and named', async () => {
  await withProxy(hangUp, async (url, connections) => {
    await expect(get(HTTPS, { retries: 2 })).rejects.toThrow(
      `${HTTPS}: the proxy ${url}/ (of HTTPS_PROXY): the connection was cut (UND_ERR_SOCKET), again and again; 0 B are kept: repeat`,
    );
    expect(connections).toHaveLength(3);
    vi.stubEnv('http_proxy', url);
    await expect(get('http://files.invalid/a.bin')).rejects.toThrow(
      `the proxy ${url}/ (of http_proxy): the connection was cut`,
    );
    await expect(fetchText(HTTPS, { retries: 1, backoffScale: 0.002 })).rejects.toThrow('(of HTTPS_PROXY)');
    expect(connections).toHaveLength(7);
  });
});

it('that never answers is given up, and a signal ends the wait', async () => {
  await withProxy(
    () => undefined,
    async (url) => {
      await expect(get(HTTPS, { stallSeconds: 1, retries: 0 })).rejects.toThrow(
        `the proxy ${url}/ (of HTTPS_PROXY) does not answer (UND_ERR_HEADERS_TIMEOUT)`,
      );
      const start = performance.now();
      const signal = AbortSignal.timeout(100);
      await expect(get(HTTPS, { signal })).rejects.toThrow('aborted due to timeout');
      expect(performance.now() - start).toBeLessThan(5000);
    },
  );
});

it('that refuses connections or has no address is not taken for the server', async () => {
  let free = '';
  await withProxy(hangUp, async (url) => {
    free = url;
  });
  vi.stubEnv('HTTPS_PROXY', free);
  await expect(get(HTTPS)).rejects.toThrow(
    `${HTTPS}: the proxy ${free}/ (of HTTPS_PROXY) refuses the connection (ECONNREFUSED), again and again`,
  );
  vi.stubEnv('HTTPS_PROXY', 'http://proxy.invalid:3128');
  await expect(get(HTTPS)).rejects.toThrow(
    /: the proxy (of HTTPS_PROXY cannot be used: .*no host proxy.invalid|http:\/\/proxy.invalid:3128\/ \(of HTTPS_PROXY\).* looked up)/,
  );
});

it('for SOCKS that hangs up or speaks another language is given up, too', async () => {
  vi.spyOn(process, 'emitWarning').mockReturnValue();
  for (const [take, message] of [
    [hangUp, 'sent next to nothing'],
    [(socket: Socket) => void socket.end('HTTP/1.1 400 No\r\n\r\n'), 'the SOCKS proxy fails'],
  ] as const) {
    await withProxy(
      take,
      async () =>
        void (await expect(get('http://files.invalid/a.bin', { stallSeconds: 0.2 })).rejects.toThrow(
          message,
        )),
      'socks5',
    );
  }
});
