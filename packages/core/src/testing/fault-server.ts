/**
 * A local HTTP server with files in memory and faults on demand: what tests of datasets download from.
 *
 *   const server = await FaultServer.start();
 *   server.serve('/a.tar', bytes);
 *   server.fault('/a.tar', { kind: 'cut', at: 1000 });
 *   await prepareDataset(dataset, { mirror: server.url(''), ... });
 *   await server.close();
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** What goes wrong, and how often; without `times` it always does. */
export type Fault = { times?: number } & (
  | /** The connection ends after that byte of the file; `whole`: of a server without ranges. */ {
      kind: 'cut';
      at: number;
      whole?: boolean;
    }
  | { kind: 'status'; status: number; retryAfter?: number | string }
  | /** Requests for a part get the whole file. */ { kind: 'no-range' }
  | /** States another length than it sends. */ { kind: 'content-length'; bytes: number }
  | /** One byte of the file is another. */ { kind: 'corrupt'; at: number }
  | /** Redirects to a path or URL. */ { kind: 'redirect'; to: string }
  | /** Sends so many bytes per second, in one-byte pieces below 100. */ {
      kind: 'slow';
      bytesPerSecond: number;
    }
  | /** Calls the bytes, which are sent as they are, encoded. */ { kind: 'encoding'; encoding: string }
  | /** Accepts the request and never answers. */ { kind: 'silent' }
);

/** A request as it came. */
export interface SeenRequest {
  path: string;
  range: string | null;
  authorization: string | null;
  host: string;
}

interface Served {
  content: Buffer;
  etag: string;
  faults: Fault[];
}

export class FaultServer {
  /** All requests so far. */
  readonly requests: SeenRequest[] = [];
  private readonly files = new Map<string, Served>();

  private constructor(private readonly server: Server) {
    server.on('request', (request, response) => void this.answer(request, response));
  }

  /** @param port 0: any free one */
  static async start(port = 0): Promise<FaultServer> {
    const server = createServer({ keepAlive: true });
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    return new FaultServer(server);
  }

  /** The URL of a path, e.g. `/a.tar`. @param host `localhost` for another origin than `127.0.0.1` */
  url(path: string, host = '127.0.0.1'): string {
    return `http://${host}:${(this.server.address() as AddressInfo).port}${path}`;
  }

  /** Serves a content; one that was served before is another version of the file from now on. */
  serve(path: string, content: Uint8Array | string): void {
    const bytes = Buffer.from(content);
    const etag = `"${createHash('md5').update(bytes).digest('hex')}"`;
    this.files.set(path, { content: bytes, etag, faults: this.files.get(path)?.faults ?? [] });
  }

  /** Adds a fault; of several, the first whose `times` are not used up holds. */
  fault(path: string, fault: Fault): void {
    const file = this.files.get(path);
    if (!file) throw new Error(`${path} is not served`);
    file.faults.push({ ...fault });
  }

  /** Removes all faults of a path. */
  heal(path: string): void {
    const file = this.files.get(path);
    if (file) file.faults = [];
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = decodeURIComponent(new URL(request.url ?? '/', 'http://local').pathname);
    const { range, authorization, host } = request.headers;
    this.requests.push({
      path,
      range: range ?? null,
      authorization: authorization ?? null,
      host: host ?? '',
    });
    response.on('error', () => undefined);
    const file = this.files.get(path);
    if (!file) {
      response.writeHead(404).end();
      return;
    }
    const fault = nextFault(file);
    switch (fault?.kind) {
      case 'status': {
        const after = fault.retryAfter === undefined ? {} : { 'retry-after': String(fault.retryAfter) };
        response.writeHead(fault.status, after).end();
        return;
      }
      case 'redirect':
        response.writeHead(302, { location: fault.to }).end();
        return;
      case 'silent':
        return;
      default:
        await send(request, response, file, fault).catch(() => response.destroy());
    }
  }
}

function nextFault(file: Served): Fault | undefined {
  const fault = file.faults.find(({ times }) => times === undefined || times > 0);
  if (fault?.times !== undefined) fault.times--;
  return fault;
}

async function send(
  request: IncomingMessage,
  response: ServerResponse,
  file: Served,
  fault?: Fault,
): Promise<void> {
  const { content, etag } = file;
  const condition = request.headers['if-range'];
  const rangeless = fault?.kind === 'no-range' || (fault?.kind === 'cut' && fault.whole === true);
  const whole = rangeless || (condition !== undefined && condition !== etag);
  const range = whole ? null : wantedRange(request.headers.range, content.length);
  if (range === 'unsatisfiable') {
    response.writeHead(416, { 'content-range': `bytes */${content.length}` }).end();
    return;
  }
  const [start, end] = range ?? [0, content.length];
  const stated = fault?.kind === 'content-length' ? fault.bytes : end - start;
  response.writeHead(range ? 206 : 200, {
    etag,
    'content-length': stated,
    ...(range && { 'content-range': `bytes ${start}-${end - 1}/${content.length}` }),
    ...(!rangeless && { 'accept-ranges': 'bytes' }),
    ...(fault?.kind === 'encoding' && { 'content-encoding': fault.encoding }),
  });
  let body = content.subarray(start, end);
  if (fault?.kind === 'corrupt' && fault.at >= start && fault.at < end) {
    body = Buffer.from(body);
    body[fault.at - start]! ^= 0x55;
  }
  if (fault?.kind === 'cut' && fault.at < end) {
    await write(response, body.subarray(0, Math.max(0, fault.at - start)));
    // Let what was written leave before the connection goes.
    await sleep(5);
    response.destroy();
  } else if (fault?.kind === 'content-length') {
    await write(response, body);
    response.socket?.end();
  } else if (fault?.kind === 'slow') {
    await slowly(response, body, fault.bytesPerSecond);
  } else {
    await write(response, body);
    response.end();
  }
}

/** [start, end) of `bytes=a-b`; null where none is asked for. */
function wantedRange(header: string | undefined, size: number): [number, number] | null | 'unsatisfiable' {
  const match = /^bytes=(\d+)-(\d*)$/.exec(header ?? '');
  if (!match) return null;
  const start = Number(match[1]);
  if (start >= size) return 'unsatisfiable';
  return [start, match[2] ? Math.min(size, Number(match[2]) + 1) : size];
}

function write(response: ServerResponse, bytes: Buffer): Promise<void> {
  if (bytes.length === 0) {
    response.flushHeaders();
    return Promise.resolve();
  }
  return new Promise((resolve, reject) => {
    const gone = () => reject(new Error('the client went away'));
    response.once('close', gone);
    response.write(bytes, (error) => {
      response.removeListener('close', gone);
      if (error) reject(error);
      else resolve();
    });
  });
}

async function slowly(response: ServerResponse, body: Buffer, bytesPerSecond: number): Promise<void> {
  const piece = bytesPerSecond < 100 ? 1 : Math.ceil(bytesPerSecond / 10);
  for (let at = 0; at < body.length && !response.destroyed; at += piece) {
    await write(response, body.subarray(at, at + piece));
    await sleep((1000 * piece) / bytesPerSecond);
  }
  response.end();
}
