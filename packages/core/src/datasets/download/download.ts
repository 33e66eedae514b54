/** Downloading one file: resumed, in parallel where the server allows it, verified, and never under its name before it is whole. */
import { dirname } from 'node:path';
import { explainCacheError } from '../../data/packages/cache-error.js';
import { D2vError } from '../../errors.js';
import { formatBytes, freeBytes } from '../../training/fs-errors.js';
import type { Checksums } from '../types.js';
import { gaveUp } from './backoff.js';
import { mismatch, wantedAlgorithms } from './checksums.js';
import { ChangedError, TransientError, UnavailableError } from './errors.js';
import { HttpClient } from './http.js';
import { PartFile } from './part-file.js';
import { RateLimiter } from './rate-limit.js';
import { Transfer } from './transfer.js';
import { checkUrl, shownUrl } from './url.js';

export interface DownloadRequest {
  /** Best first. May hold credentials: they are neither shown nor sent to another host. */
  urls: readonly string[];
  /** The final name; its folder is made. */
  path: string;
  /** Published size. */
  bytes?: number;
  checksums?: Checksums;
}

export interface DownloadSettings {
  /** Most connections for one file. Default: 4. */
  connections?: number;
  /** Most attempts in a row that bring nothing, or next to nothing. Default: 8. */
  retries?: number;
  /** Default: 30. */
  stallSeconds?: number;
  /** Shared by several downloads. */
  limiter?: RateLimiter;
  /** For the URL's own host. */
  token?: string | null;
  /** What the dataset says about access, for errors. */
  howTo?: string | null;
  /** Bytes of a request; default: 64 MB. Smaller files come in one. */
  chunkBytes?: number;
  /** Of waiting times between attempts; for tests. */
  backoffScale?: number;
  /** @param total null where the server does not say */
  onProgress?: (done: number, total: number | null) => void;
  /** What went wrong and is tried again. */
  onRetry?: (message: string) => void;
  signal?: AbortSignal;
}

export interface Downloaded {
  bytes: number;
  /** Published ones, or SHA-256. */
  checksums: Checksums;
  /** Where it came from, without credentials. */
  url: string;
}

/** So many times a file is begun anew because it changed or came damaged. */
const MOST_RESTARTS = 2;

/**
 * Downloads a file. The caller keeps other processes away (the dataset's lock). What an earlier attempt has left is gone on from;
 * after a failure, `.part` stays for the next one.
 * @throws D2vError in one line with the remedy
 */
export async function download(
  request: DownloadRequest,
  settings: DownloadSettings = {},
): Promise<Downloaded> {
  const { urls, path } = request;
  if (urls.length === 0) throw new D2vError(`${path}: no URL is known for it; use --mirror or --from`);
  for (const url of urls) checkUrl(url, 'the source');
  const { stallSeconds = 30, token, signal } = settings;
  const client = new HttpClient({ stallSeconds, token, signal });
  try {
    for (const [i, url] of urls.entries()) {
      try {
        return await fromUrl(url, request, settings, client);
      } catch (error) {
        if (!(error instanceof UnavailableError) || i === urls.length - 1) throw error;
        settings.onRetry?.(`${error.message}; trying ${shownUrl(urls[i + 1]!)}`);
      }
    }
  } catch (error) {
    throw explainCacheError(error, dirname(path), 'what came so far is kept');
  } finally {
    await client.close();
  }
  throw new Error('unreachable');
}

async function fromUrl(
  url: string,
  request: DownloadRequest,
  settings: DownloadSettings,
  client: HttpClient,
): Promise<Downloaded> {
  const { path, checksums, bytes } = request;
  const part = await PartFile.open(path, shownUrl(url), wantedAlgorithms(checksums));
  let committed = false;
  try {
    for (let restarts = 0; ; restarts++) {
      try {
        const transfer = new Transfer(
          url,
          part,
          request,
          { ...settings, limiter: settings.limiter ?? new RateLimiter(Infinity) },
          client,
        );
        const size = await transfer.run();
        const actual = await part.digest(size, settings.signal);
        const wrong = mismatch(checksums, actual);
        if (wrong !== null) throw new DamagedError(wrong);
        await part.commit();
        committed = true;
        return { bytes: size, checksums: actual, url: shownUrl(url) };
      } catch (error) {
        if (!(error instanceof ChangedError || error instanceof DamagedError)) throw error;
        await part.restart();
        if (restarts >= MOST_RESTARTS) {
          throw new UnavailableError(
            `${shownUrl(url)}: ${error.message}, ${restarts + 1} times in a row; the source is damaged or not the published file (${bytes ?? 'unknown number of'} bytes): use --mirror or --from`,
            { cause: error },
          );
        }
        settings.onRetry?.(`${shownUrl(url)}: ${error.message}; beginning anew`);
      }
    }
  } catch (error) {
    if (error instanceof TransientError) {
      const { what, when } = gaveUp(error);
      throw new UnavailableError(
        `${shownUrl(url)}: ${what}; ${formatBytes(part.received)} are kept: repeat the command${when} to go on`,
        { cause: error },
      );
    }
    throw error;
  } finally {
    if (!committed) await part.keep();
  }
}

/** The whole file is there, but not with the published content. */
class DamagedError extends Error {
  override readonly name = 'DamagedError';
}

/** @throws D2vError when a disk cannot take that much more */
export async function checkSpace(folder: string, needed: number, what: string): Promise<void> {
  const free = await freeBytes(folder);
  if (free === undefined || free >= needed) return;
  throw new D2vError(
    `${what} needs ${formatBytes(needed)}, the disk of ${folder} has ${formatBytes(free)} free: make room, or set D2V_DATA to a folder on another disk`,
  );
}
