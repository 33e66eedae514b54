/**
 * HTTP for downloads: follows redirects itself, so that credentials go to one host alone, and gives up connections that
 * stall. Proxies come from the environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY).
 */
import { type Dispatcher, EnvHttpProxyAgent, Pool, request } from 'undici';
import { D2vError } from '../../errors.js';
import {
  connectionError,
  ELSEWHERE,
  ProxyError,
  type ProxySetting,
  TransientError,
  UnavailableError,
} from './errors.js';
import { checkProxy, shownUrl } from './url.js';

const MOST_REDIRECTS = 10;
/** Slower than this over a whole stall period counts as stalled. */
const LEAST_RATE = 1024;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

export interface HttpOptions {
  /** Seconds without data, or with less than `LEAST_RATE`, after which a connection is given up. */
  stallSeconds: number;
  /** Sent as `Authorization: Bearer` to the host of the URL that is asked for, never to where it redirects. */
  token?: string | null;
  signal?: AbortSignal;
}

export interface HttpResponse {
  status: number;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  /** The body; gives up when it stalls. Ends early, without an error, only after `discard`. */
  body: AsyncIterable<Buffer>;
  /** Throws the body away. */
  discard(): void;
}

/** Makes requests over connections that it keeps; to be closed. */
export class HttpClient {
  private readonly agent: Dispatcher;

  /** @throws D2vError when the environment names a proxy that is none */
  constructor(private readonly options: HttpOptions) {
    checkProxies();
    checkToken(options.token);
    const ms = options.stallSeconds * 1000;
    this.agent = new EnvHttpProxyAgent({
      connect: { timeout: Math.min(ms, 30_000) },
      headersTimeout: ms,
      // The body is watched here: this one would know nothing of a server that sends a byte now and then.
      bodyTimeout: 0,
      // Browsers' trick of trying IPv6 and IPv4 side by side.
      autoSelectFamily: true,
      noProxy: noProxy(),
      clientFactory: (origin, options) => proxyPool(origin, { ...options, headersTimeout: ms }),
    });
  }

  /**
   * GET, redirects followed.
   * @throws TransientError when another attempt may help, UnavailableError when not
   */
  async get(
    url: string,
    headers: Record<string, string> = {},
    signal = this.options.signal,
  ): Promise<HttpResponse> {
    const origin = new URL(url).origin;
    const seen = new Set<string>();
    let at = url;
    for (let hops = 0; hops <= MOST_REDIRECTS; hops++) {
      if (seen.has(at))
        throw new UnavailableError(`${shownUrl(url)}: its redirects run in a circle: ${ELSEWHERE}`);
      seen.add(at);
      const own = new URL(at).origin === origin;
      const response = await this.once(at, { ...headers, ...(own && this.authorization(url)) }, signal);
      if (!REDIRECTS.has(response.status)) return response;
      response.discard();
      at = redirectTarget(response, at, url);
    }
    throw new UnavailableError(`${shownUrl(url)}: more than ${MOST_REDIRECTS} redirects: ${ELSEWHERE}`);
  }

  async close(): Promise<void> {
    await this.agent.destroy();
  }

  /** Credentials in the URL go before the token. */
  private authorization(url: string): Record<string, string> {
    const { username, password } = new URL(url);
    if (username || password) {
      const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
      return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
    }
    return this.options.token ? { authorization: `Bearer ${this.options.token}` } : {};
  }

  private async once(
    url: string,
    headers: Record<string, string>,
    signal?: AbortSignal,
  ): Promise<HttpResponse> {
    const bare = new URL(url);
    bare.username = '';
    bare.password = '';
    const answer = request(bare, {
      dispatcher: this.agent,
      signal,
      // Sizes and checksums are those of the file as it is published, so it must come as it is.
      headers: { 'user-agent': 'd2v', 'accept-encoding': 'identity', ...headers },
    });
    const {
      statusCode,
      headers: answered,
      body,
    } = await inTime(
      answer,
      // A last resort: connecting, a proxy and the server have times of their own.
      3 * this.options.stallSeconds,
      // The agent itself does not look at it while it connects.
      signal,
    ).catch((error: unknown) => {
      answer.then(
        (late) => late.body.on('error', () => undefined).destroy(),
        () => undefined,
      );
      signal?.throwIfAborted();
      throw connectionError(error, url, proxyFor(bare));
    });
    // What is thrown away may still fail.
    body.on('error', () => undefined);
    const discard = () => void body.destroy();
    return {
      status: statusCode,
      headers: answered,
      discard,
      body: watched(body, this.options.stallSeconds, url, signal),
    };
  }
}

/**
 * Connections to a proxy. Their failures get a type of their own: some would be taken for those of the server, and after others
 * (the proxy hangs up when it is asked for a connection) the agent would ask again at once, for ever.
 */
function proxyPool(origin: URL, options: object): Pool {
  const pool = new Pool(origin, options);
  type Connect = (options: Dispatcher.ConnectOptions) => Promise<Dispatcher.ConnectData>;
  const connect = pool.connect.bind(pool) as Connect;
  const named: Connect = (asked) =>
    connect(asked).catch((cause: unknown) => {
      throw new ProxyError('the proxy cannot be used', { cause });
    });
  return Object.assign(pool, { connect: named });
}

/** @throws D2vError for what cannot stand in a header, as when a file was read with its line end */
function checkToken(token: string | null | undefined): void {
  if (!token || /^[\x21-\x7e]+$/.test(token)) return;
  throw new D2vError(
    'the access token holds a line break, a space or another character that no token has: set it again without (check the environment variable that holds it)',
  );
}

/** The variables that the agent reads; the first that is set counts. */
const PLAIN = ['http_proxy', 'HTTP_PROXY'];
const ENCRYPTED = ['https_proxy', 'HTTPS_PROXY'];

/** The proxy of the environment that requests to a URL go through, without credentials; `NO_PROXY` is not looked at. */
function proxyFor({ protocol }: URL): ProxySetting | null {
  // As the agent does it: the one for http serves https, too, where that has none.
  const variable = (protocol === 'https:' && proxyVariable(ENCRYPTED)) || proxyVariable(PLAIN);
  return variable ? { url: shownUrl(process.env[variable]!), variable } : null;
}

function checkProxies(): void {
  for (const names of [PLAIN, ENCRYPTED]) {
    const variable = proxyVariable(names);
    if (variable) checkProxy(process.env[variable]!, variable);
  }
}

function proxyVariable(names: readonly string[]): string | undefined {
  const name = names.find((one) => process.env[one] !== undefined);
  return name && process.env[name] ? name : undefined;
}

/** `NO_PROXY`, and this machine: what it serves itself is behind no proxy. */
function noProxy(): string {
  const given = process.env.no_proxy ?? process.env.NO_PROXY ?? '';
  return given.trim() === '*' ? '*' : [given, 'localhost', '127.0.0.1', '[::1]'].join(',');
}

function redirectTarget({ headers }: HttpResponse, from: string, asked: string): string {
  const { location } = headers;
  if (typeof location !== 'string' || !URL.canParse(location, from)) {
    throw new UnavailableError(`${shownUrl(asked)}: it redirects to nowhere: ${ELSEWHERE}`);
  }
  const target = new URL(location, from);
  const downgraded = new URL(from).protocol === 'https:' && target.protocol !== 'https:';
  if (downgraded || !/^https?:$/.test(target.protocol)) {
    throw new UnavailableError(
      `${shownUrl(asked)}: it redirects to ${shownUrl(target.href)}, which is not safe: ${ELSEWHERE}`,
    );
  }
  // Credentials that a redirect brings along are the target's own doing: they are not used.
  target.username = '';
  target.password = '';
  return target.href;
}

type Body = AsyncIterable<Buffer> & { destroy(error?: Error): unknown };

/** The body, given up when it stalls. Only the time spent waiting counts: a reader that is slow on purpose is fine. */
async function* watched(body: Body, stallSeconds: number, url: string, signal?: AbortSignal) {
  const iterator = body[Symbol.asyncIterator]();
  let waited = 0;
  let received = 0;
  try {
    for (;;) {
      const start = performance.now();
      const result = await inTime(iterator.next(), stallSeconds).catch((error: unknown) => {
        // The read that is left open fails when the body is destroyed.
        body.destroy();
        throw error;
      });
      if (result.done) return;
      waited += (performance.now() - start) / 1000;
      received += result.value.length;
      if (waited >= stallSeconds) {
        if (received < LEAST_RATE * waited) throw stalled(stallSeconds);
        waited = 0;
        received = 0;
      }
      yield result.value;
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw error instanceof TransientError ? error : connectionError(error, url);
  } finally {
    body.destroy();
  }
}

const stalled = (seconds: number) =>
  new TransientError(`the server sent next to nothing for ${Number(seconds.toFixed(1))} s`);

/** What does not come in time, or before the signal, is left to itself: its failure is nobody's any more. */
async function inTime<T>(result: Promise<T>, seconds: number, signal?: AbortSignal): Promise<T> {
  result.catch(() => undefined);
  let timer: NodeJS.Timeout | undefined;
  let stop: (() => void) | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(stalled(seconds)), seconds * 1000);
    stop = () => reject(signal?.reason);
    signal?.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([result, late]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', stop!);
  }
}
