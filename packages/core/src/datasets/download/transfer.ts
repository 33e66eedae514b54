/** One file from one URL into its part file: which requests, how many at once, and when to try again. */
import type { Checksums } from '../types.js';
import { Backoff, pause } from './backoff.js';
import type { DownloadRequest, DownloadSettings } from './download.js';
import { ChangedError, statusError, TransientError, UnavailableError } from './errors.js';
import type { HttpClient, HttpResponse } from './http.js';
import type { PartFile, RemoteIdentity } from './part-file.js';
import type { RateLimiter } from './rate-limit.js';
import { shownUrl } from './url.js';

const CHUNK = 64 << 20;
const CONNECTIONS = 4;
/** A connection that brings less, and not all it was asked for, has failed like one that brings nothing. */
const LEAST_PROGRESS = 64 << 10;

type Settings = DownloadSettings & { limiter: RateLimiter };

export class Transfer {
  private readonly backoff: Backoff;
  private readonly stop = new AbortController();
  private readonly signal: AbortSignal;
  /** Ranges that a connection is at work on. */
  private readonly claimed = new Set<Range>();
  private active = 0;
  /** A server has asked for fewer requests at once. */
  private crowded = false;
  private failure: unknown;
  /** The server, or this file, does not do ranges: it comes in one piece. */
  private whole = false;
  private notBefore = 0;
  private furthest: number;

  constructor(
    private readonly url: string,
    private readonly part: PartFile,
    private readonly request: DownloadRequest,
    private readonly settings: Settings,
    private readonly client: HttpClient,
  ) {
    this.backoff = new Backoff(settings.retries, settings.backoffScale);
    this.signal = settings.signal ? AbortSignal.any([settings.signal, this.stop.signal]) : this.stop.signal;
    this.furthest = part.received;
  }

  /**
   * Brings what is missing. @returns the size of the file
   * @throws ChangedError when what is there belongs to another version
   */
  async run(): Promise<number> {
    if (this.part.received > 0 && !this.canResume()) await this.part.restart();
    // The first request tells what there is to know: size, version, whether ranges work.
    while (this.size === null || (this.claimable() && !this.parallel())) {
      if (await this.attempt()) break;
    }
    const { size } = this;
    if (size === null) return this.part.prefix;
    const connections = this.settings.connections ?? CONNECTIONS;
    const lanes = Array.from({ length: connections }, () => this.lane());
    const failed = (await Promise.allSettled(lanes)).find((lane) => lane.status === 'rejected');
    this.settings.signal?.throwIfAborted();
    if (failed) throw this.failure ?? failed.reason;
    return size;
  }

  /** One connection's work: range after range, until none is left. */
  private async lane(): Promise<void> {
    this.active++;
    try {
      while (this.claimable()) {
        await this.attempt();
        // The server asked for fewer requests at once: the others carry on.
        if (this.crowded && this.active > 1) {
          this.crowded = false;
          return;
        }
      }
    } catch (error) {
      this.failure ??= error;
      this.stop.abort();
      throw error;
    } finally {
      this.active--;
    }
  }

  private get size(): number | null {
    return this.part.identity?.size ?? null;
  }

  private parallel(): boolean {
    return !this.whole && this.part.received > 0;
  }

  /** Whether what is there can be told from another version of the file. */
  private canResume(): boolean {
    const { identity } = this.part;
    if (!identity || identity.size === null) return false;
    return identity.etag !== null || identity.lastModified !== null || hasChecksum(this.request.checksums);
  }

  private claimable(): boolean {
    return this.nextRange() !== null;
  }

  /** The first range that is missing and that nobody is at work on. */
  private nextRange(): Range | null {
    const { size } = this;
    const chunk = this.settings.chunkBytes ?? CHUNK;
    if (size === null) return { start: 0, end: chunk };
    if (this.whole)
      return this.part.prefix < size && this.claimed.size === 0 ? { start: 0, end: size } : null;
    for (const [from, to] of this.part.missing(size)) {
      let start = from;
      for (const { start: taken, end } of [...this.claimed].sort((a, b) => a.start - b.start)) {
        if (taken <= start && end > start) start = end;
      }
      if (start >= to) continue;
      const next = [...this.claimed].map((range) => range.start).filter((at) => at > start);
      return { start, end: Math.min(to, start + chunk, ...next) };
    }
    return null;
  }

  /** One request, with what follows from its failure. @returns whether the file is complete and of unknown size */
  private async attempt(): Promise<boolean> {
    const wait = this.notBefore - performance.now();
    if (wait > 0) await this.rest(wait / 1000);
    const range = this.nextRange();
    if (!range) return false;
    this.claimed.add(range);
    try {
      return await this.fetch(range);
    } catch (error) {
      this.signal.throwIfAborted();
      if (!(error instanceof TransientError)) throw error;
      this.crowded = error.busy;
      const seconds = this.backoff.failed(error);
      if (seconds === null) throw error;
      this.settings.onRetry?.(
        `${shownUrl(this.url)}: ${error.message}; trying again in ${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`,
      );
      if (error.retryAfter !== null) this.notBefore = performance.now() + seconds * 1000;
      await this.rest(seconds);
      return false;
    } finally {
      this.claimed.delete(range);
    }
  }

  /** Waits, with everything recorded: whoever sees nothing happen may end the process. */
  private async rest(seconds: number): Promise<void> {
    if (this.part.identity) await this.part.save();
    await pause(seconds, this.signal);
  }

  private async fetch(range: Range): Promise<boolean> {
    const { identity } = this.part;
    const headers: Record<string, string> = {};
    if (!this.whole) headers.range = `bytes=${range.start}-${range.end - 1}`;
    const version = identity?.etag ?? identity?.lastModified;
    if (!this.whole && version && this.part.received > 0) headers['if-range'] = version;
    const response = await this.client.get(this.url, headers, this.signal);
    try {
      return await this.take(response, range);
    } finally {
      response.discard();
    }
  }

  private async take(response: HttpResponse, range: Range): Promise<boolean> {
    const { status, headers } = response;
    if (status === 416) {
      // Asked for bytes behind the end: the file has become shorter, or is empty.
      if (this.part.received > 0) throw new ChangedError('the file on the server has changed meanwhile');
      this.whole = true;
      return false;
    }
    if (status !== 200 && status !== 206) {
      throw statusError(status, headers, this.url, this.settings.howTo ?? null);
    }
    const sent = status === 206 ? contentRange(headers) : null;
    if (status === 206 && sent?.start !== range.start) {
      this.whole = true;
      throw new TransientError('the server answers a request for a part in a way that is not understood');
    }
    const found = identityOf(response, sent?.total);
    this.checkEncoding(headers['content-encoding'], found.size);
    await this.compare(found, status);
    if (sent) {
      await this.receive(response, sent.start, Math.min(range.end, sent.total));
      return false;
    }
    // The whole file, though a part was asked for.
    this.whole = this.part.received > 0 || range.end < (found.size ?? Infinity);
    if (this.whole && this.active > 1) {
      // One lane goes on alone.
      throw new ChangedError('the server no longer sends parts of it');
    }
    await this.receive(response, 0, found.size ?? Infinity);
    return found.size === null;
  }

  /**
   * Some servers call an archive gzip-encoded that they send as it is published. Its bytes are taken as they come, so a published
   * size or checksum tells it from one that is really compressed on the way.
   */
  private checkEncoding(encoding: string | string[] | undefined, size: number | null): void {
    const { bytes, checksums } = this.request;
    const told = size !== null && (bytes === undefined ? hasChecksum(checksums) : bytes === size);
    if (encoding === undefined || encoding === 'identity' || told) return;
    const why =
      bytes === undefined ? 'nothing published tells whether it is whole' : `published are ${bytes} bytes`;
    throw new UnavailableError(
      `${shownUrl(this.url)}: the server says that it sends it compressed (${encoding}), unasked, ${size === null ? 'without a length' : `${size} bytes`}, and ${why}: name another source with --mirror, or a folder that holds the file with --from`,
    );
  }

  /** Compares what the server has with what the part is of; on the first answer, notes it. */
  private async compare(found: RemoteIdentity, status: number): Promise<void> {
    const { bytes } = this.request;
    if (bytes !== undefined && found.size !== null && found.size !== bytes) {
      throw new UnavailableError(
        `${shownUrl(this.url)}: the server has a file of ${found.size} bytes, published are ${bytes}: it is another file; use --mirror or --from`,
      );
    }
    const { identity } = this.part;
    if (!identity) {
      await this.part.begin(shownUrl(this.url), found);
      return;
    }
    const differs =
      (identity.size !== null && found.size !== null && identity.size !== found.size) ||
      (identity.etag !== null && found.etag !== null && identity.etag !== found.etag) ||
      (identity.etag === null &&
        identity.lastModified !== null &&
        found.lastModified !== null &&
        identity.lastModified !== found.lastModified);
    if (differs) throw new ChangedError('the file on the server has changed meanwhile');
    if (status === 200 && found.size === null) await this.part.begin(shownUrl(this.url), found);
  }

  /** Writes a body to where it belongs. @param end Infinity where the server does not say */
  private async receive({ body }: HttpResponse, start: number, end: number): Promise<void> {
    const { settings, part } = this;
    if (this.whole && part.prefix > 0) {
      const { identity } = part;
      await part.restart();
      await part.begin(shownUrl(this.url), identity!);
    }
    let at = start;
    for await (const bytes of body) {
      // More than was asked for. What ends as it should leaves the connection usable.
      if (at >= end) break;
      const wanted = bytes.length > end - at ? bytes.subarray(0, end - at) : bytes;
      // Written before it is waited for, and in portions: a process that is killed meanwhile loses little.
      for (let from = 0; from < wanted.length; from += settings.limiter.portion) {
        const portion = wanted.subarray(from, from + settings.limiter.portion);
        await part.write(portion, at);
        at += portion.length;
        if (at - start >= LEAST_PROGRESS) this.progressed();
        settings.onProgress?.(part.received, this.size);
        await settings.limiter.take(portion.length, this.signal);
      }
    }
    await part.hashPrefix(this.signal);
    const expected = Number.isFinite(end) ? end : (this.request.bytes ?? at);
    if (at < expected) throw new TransientError(`the connection ended at byte ${at} of ${expected}`);
    this.progressed();
  }

  /** What comes a second time, from the beginning of a file without ranges, is none. */
  private progressed(): void {
    if (this.part.received <= this.furthest) return;
    this.furthest = this.part.received;
    this.backoff.progressed();
  }
}

interface Range {
  start: number;
  end: number;
}

const hasChecksum = (checksums: Checksums | undefined) =>
  Object.values(checksums ?? {}).some((value) => value !== undefined);

/** @param total size of the whole file, when a part of it came */
function identityOf({ headers }: HttpResponse, total: number | undefined): RemoteIdentity {
  const { etag, 'last-modified': lastModified, 'content-length': length } = headers;
  const strong = typeof etag === 'string' && !etag.startsWith('W/') ? etag : null;
  return {
    etag: strong,
    lastModified: typeof lastModified === 'string' ? lastModified : null,
    size: total ?? (typeof length === 'string' && /^\d+$/.test(length) ? Number(length) : null),
  };
}

/** `bytes 0-99/1000`; null where it says less. */
function contentRange(headers: HttpResponse['headers']): { start: number; total: number } | null {
  const match = /^bytes (\d+)-\d+\/(\d+)$/.exec(String(headers['content-range'] ?? ''));
  return match ? { start: Number(match[1]), total: Number(match[2]) } : null;
}
