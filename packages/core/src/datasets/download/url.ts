import { D2vError } from '../../errors.js';

/** A URL for messages and records: without credentials, query (signatures, tokens) and fragment. */
export function shownUrl(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  return parsed ? `${parsed.protocol}//${parsed.host}${parsed.pathname}` : 'the URL';
}

/** @throws D2vError unless it is http or https; the message shows no credentials */
export function checkUrl(url: string, what: string): URL {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (parsed?.protocol !== 'http:' && parsed?.protocol !== 'https:') {
    throw new D2vError(`${what} must be a URL that begins with https:// or http://`);
  }
  checkCredentials(parsed, what);
  return parsed;
}

/** The URL of a proxy, as the environment has it. @param name of the variable */
export function checkProxy(url: string, name: string): void {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (!parsed || !/^(https?|socks5?):$/.test(parsed.protocol)) {
    throw new D2vError(
      `the environment variable ${name} must be the URL of a proxy, as in http://host:3128; correct it, or unset it`,
    );
  }
  checkCredentials(parsed, `the environment variable ${name}`);
}

function checkCredentials({ username, password }: URL, what: string): void {
  try {
    for (const part of [username, password]) decodeURIComponent(part);
  } catch {
    throw new D2vError(`${what}: write a % in the user name or password as %25`);
  }
}

/** `base` with a relative path behind it; a query of the base stays. */
export function joinUrl(base: string, path: string): string {
  const url = checkUrl(base, 'the mirror');
  const folder = url.pathname.replace(/\/+$/, '');
  url.pathname = `${folder}/${path.split('/').map(encodeURIComponent).join('/')}`;
  return url.href;
}
