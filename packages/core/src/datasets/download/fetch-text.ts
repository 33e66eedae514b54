import { D2vError } from '../../errors.js';
import { Backoff, gaveUp, pause } from './backoff.js';
import type { DownloadSettings } from './download.js';
import { statusError, TransientError, UnavailableError } from './errors.js';
import { HttpClient } from './http.js';
import { checkUrl, shownUrl } from './url.js';

/** Lists of files and checksums are small; anything larger is something else. */
const MOST_BYTES = 64 << 20;

/** A small text from the network, with the retries of downloads. @throws D2vError in one line with the remedy */
export async function fetchText(url: string, settings: DownloadSettings = {}): Promise<string> {
  checkUrl(url, 'the source');
  const { stallSeconds = 30, token, signal, howTo = null } = settings;
  const client = new HttpClient({ stallSeconds, token, signal });
  const backoff = new Backoff(settings.retries, settings.backoffScale);
  try {
    for (;;) {
      try {
        return await once(client, url, howTo);
      } catch (error) {
        if (!(error instanceof TransientError)) throw error;
        const seconds = backoff.failed(error);
        if (seconds === null) {
          const { what, when } = gaveUp(error);
          throw new UnavailableError(`${shownUrl(url)}: ${what}: repeat the command${when || ' later'}`, {
            cause: error,
          });
        }
        settings.onRetry?.(`${shownUrl(url)}: ${error.message}; trying again`);
        await pause(seconds, signal);
      }
    }
  } finally {
    await client.close();
  }
}

async function once(client: HttpClient, url: string, howTo: string | null): Promise<string> {
  const response = await client.get(url);
  try {
    if (response.status !== 200) throw statusError(response.status, response.headers, url, howTo);
    const parts: Buffer[] = [];
    let bytes = 0;
    for await (const part of response.body) {
      bytes += part.length;
      if (bytes > MOST_BYTES)
        throw new D2vError(`${shownUrl(url)}: more than ${MOST_BYTES >> 20} MB of text`);
      parts.push(part);
    }
    return Buffer.concat(parts).toString('utf8');
  } finally {
    response.discard();
  }
}
