import { setTimeout as sleep } from 'node:timers/promises';
import type { TransientError } from './errors.js';

const RETRIES = 8;
const FIRST_SECONDS = 1;
const MOST_SECONDS = 60;
/** Nobody looks longer at a command that waits because a server said so. */
const LONGEST_WAIT = 120;

/**
 * Counts attempts that brought next to nothing and says how long to wait: twice as long after each, up to a minute, half of it by
 * chance so that many clients do not come back at once; longer if the server says so.
 */
export class Backoff {
  private failures = 0;

  /** @param most in a row @param scale of the waiting times; tests have no patience */
  constructor(
    private readonly most = RETRIES,
    private readonly scale = 1,
  ) {}

  /** Something came: the next failure is the first one again. */
  progressed(): void {
    this.failures = 0;
  }

  /** Notes a failure. @returns seconds to wait, or null when there were too many in a row or the server wants too long a pause */
  failed({ retryAfter }: Pick<TransientError, 'retryAfter'>, random = Math.random()): number | null {
    this.failures++;
    if (this.failures > this.most || (retryAfter ?? 0) > LONGEST_WAIT) return null;
    const full = Math.min(MOST_SECONDS, FIRST_SECONDS * 2 ** (this.failures - 1));
    const own = (full / 2 + (full / 2) * random) * this.scale;
    return Math.max(own, retryAfter ?? 0);
  }
}

/** What comes of a failure that is not tried again, e.g. `the server answers 502, again and again`. */
export function gaveUp({ message, retryAfter }: Pick<TransientError, 'message' | 'retryAfter'>): {
  what: string;
  when: string;
} {
  if ((retryAfter ?? 0) <= LONGEST_WAIT) return { what: `${message}, again and again`, when: '' };
  const minutes = Math.ceil(retryAfter! / 60);
  const span = minutes < 120 ? `${minutes} minutes` : `${Math.ceil(minutes / 60)} hours`;
  return { what: `${message} and asks to come back in ${span}`, when: ` in ${span}` };
}

/** Waits. @throws what the signal was aborted with */
export async function pause(seconds: number, signal?: AbortSignal): Promise<void> {
  await sleep(seconds * 1000, undefined, { signal }).catch((error: unknown) => {
    signal?.throwIfAborted();
    throw error;
  });
}
