import { setTimeout as sleep } from 'node:timers/promises';

/** Keeps a flow of bytes at or below a rate; one limiter may serve many connections. */
export class RateLimiter {
  /** When the bytes taken so far will be paid for, in milliseconds of `performance.now`. */
  private paidAt = 0;

  /** @param bytesPerSecond Infinity: no limit */
  constructor(private readonly bytesPerSecond: number) {}

  /** What is taken at once: a tenth of a second's, so that a flow is even and nothing waits long. */
  get portion(): number {
    return Math.max(1, Math.floor(this.bytesPerSecond / 10));
  }

  /** Waits until that many more bytes are within the rate. */
  async take(bytes: number, signal?: AbortSignal): Promise<void> {
    if (!Number.isFinite(this.bytesPerSecond)) return;
    const now = performance.now();
    this.paidAt = Math.max(this.paidAt, now) + (bytes / this.bytesPerSecond) * 1000;
    // Some milliseconds ahead are let through: timers are not finer.
    if (this.paidAt - now > 20) await sleep(this.paidAt - now, undefined, { signal });
  }
}
