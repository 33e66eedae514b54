/** What can go wrong with a transfer, and what follows from it. */
import { D2vError } from '../../errors.js';
import { errorCode } from '../../training/fs-errors.js';
import { shownUrl } from './url.js';

/** A failure that another attempt may mend. */
export class TransientError extends Error {
  override readonly name = 'TransientError';

  /**
   * @param message what happened, without the URL
   * @param retryAfter seconds that the server asks to wait
   * @param busy the server wants fewer requests
   */
  constructor(
    message: string,
    readonly retryAfter: number | null = null,
    readonly busy = false,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The file on the server is another one than the part that is here was taken from. */
export class ChangedError extends Error {
  override readonly name = 'ChangedError';
}

/** The file cannot be had from this URL; another one may have it. */
export class UnavailableError extends D2vError {
  override readonly name = 'UnavailableError';
}

/** What to do where nothing more is known about why it cannot be had. */
export const ELSEWHERE =
  'try again later, or name another source with --mirror, or a folder that holds the file with --from';

/** The proxy itself cannot be used; `cause` says why. */
export class ProxyError extends Error {
  override readonly name = 'ProxyError';
}

/** A proxy of the environment: its URL without credentials, and the variable that names it. */
export interface ProxySetting {
  url: string;
  variable: string;
}

const CONNECTION: Record<string, string> = {
  ECONNREFUSED: 'the server refuses the connection',
  ECONNRESET: 'the connection was cut',
  EPIPE: 'the connection was cut',
  ETIMEDOUT: 'the connection timed out',
  EHOSTUNREACH: 'the server cannot be reached',
  ENETUNREACH: 'there is no network',
  EAI_AGAIN: 'the name cannot be looked up now',
  UND_ERR_SOCKET: 'the connection was cut',
  UND_ERR_CONNECT_TIMEOUT: 'the connection timed out',
  UND_ERR_HEADERS_TIMEOUT: 'the server does not answer',
  UND_ERR_BODY_TIMEOUT: 'the server stopped sending',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'the connection ended early',
};

/**
 * A failed request or read as one of the errors above; errors of other kinds come back unchanged.
 * @param proxy that the request went through, if it did
 */
export function connectionError(error: unknown, url: string, proxy: ProxySetting | null = null): unknown {
  if (error instanceof ProxyError) return proxyError(error, url, proxy);
  const code = errorCode(error) ?? errorCode((error as Error | null)?.cause);
  const { name, message, hostname } = (error ?? {}) as Partial<Error> & { hostname?: string };
  // Its code depends on the parser.
  if (name === 'HTTPParserError') {
    // Another program's greeting stays what it is; a body that is garbled on the way may come well the next time.
    return /match the HTTP|Expected HTTP/.test(message ?? '')
      ? new UnavailableError(
          `${shownUrl(url)}: what answers there is no HTTP server: check host and port, and HTTP_PROXY and HTTPS_PROXY if they are set`,
          { cause: error },
        )
      : new TransientError('the answer is no proper HTTP', null, false, { cause: error });
  }
  if (code === undefined) return error;
  if (/^ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST|UNKNOWN_PROTOCOL)$/.test(code)) {
    return new UnavailableError(
      `${shownUrl(url)}: what answers there does not speak https: check the port, or use http:// if the server has nothing else; check HTTPS_PROXY if it is set`,
      { cause: error },
    );
  }
  if (code === 'ENOTFOUND') {
    return new UnavailableError(
      `${shownUrl(url)}: there is no host ${hostname ?? new URL(url).hostname} (check the name and the network; behind a proxy set HTTPS_PROXY)`,
      { cause: error },
    );
  }
  if (/^(CERT_|ERR_TLS|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/.test(code)) {
    return new UnavailableError(
      `${shownUrl(url)}: its certificate is not trusted (${code}); a proxy's own one goes into NODE_EXTRA_CA_CERTS`,
      { cause: error },
    );
  }
  const refused = /Proxy response \((\d+)\)/.exec(message ?? '')?.[1];
  if (refused !== undefined) {
    return new UnavailableError(
      `${shownUrl(url)}: the proxy${proxy === null ? '' : ` ${proxy.url}`} does not let it through (${refused}): check HTTP_PROXY, HTTPS_PROXY and NO_PROXY, and the credentials in them`,
      { cause: error },
    );
  }
  const reason =
    CONNECTION[code] ??
    (code.startsWith('UND_ERR_SOCKS5') ? `the SOCKS proxy fails: ${message}` : undefined) ??
    (/^(ERR_SSL_|EPROTO)/.test(code) ? 'the encrypted connection failed' : undefined);
  return reason === undefined
    ? error
    : new TransientError(`${reason} (${code})`, null, false, { cause: error });
}

/** A failed connection to the proxy: as one to a server, but it is the proxy that the message names. */
function proxyError({ cause }: ProxyError, url: string, proxy: ProxySetting | null): unknown {
  const failed = connectionError(cause, proxy?.url ?? url);
  if (proxy === null || !(failed instanceof UnavailableError || failed instanceof TransientError))
    return failed;
  if (failed instanceof UnavailableError) {
    return new UnavailableError(
      `${shownUrl(url)}: the proxy of ${proxy.variable} cannot be used: ${failed.message}`,
      { cause },
    );
  }
  const what = failed.message.replace(/^the server /, '');
  const sentence = what === failed.message ? `: ${what}` : ` ${what}`;
  return new TransientError(`the proxy ${proxy.url} (of ${proxy.variable})${sentence}`, null, false, {
    cause,
  });
}

/**
 * A status other than success.
 * @param howTo what the dataset says about access
 */
export function statusError(status: number, headers: Headers, url: string, howTo: string | null): Error {
  const where = shownUrl(url);
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    const busy = status === 429 || status === 503;
    return new TransientError(`the server answers ${status}`, retryAfter(headers), busy);
  }
  switch (status) {
    case 401:
    case 403:
      return new UnavailableError(
        `${where}: the server refuses access (${status}): ${howTo ?? 'check the token or the credentials in the URL; they may have expired'}`,
      );
    case 404:
    case 410:
      return new UnavailableError(
        `${where}: not there any more (${status}): name another source with --mirror, or a folder that holds the file with --from`,
      );
    default:
      return new UnavailableError(`${where}: the server answers ${status}: ${ELSEWHERE}`);
  }
}

type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** Seconds of `Retry-After`, which is a number or a date. */
function retryAfter(headers: Headers): number | null {
  const value = headers['retry-after'];
  if (typeof value !== 'string') return null;
  const seconds = /^\d+$/.test(value.trim()) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : null;
}
