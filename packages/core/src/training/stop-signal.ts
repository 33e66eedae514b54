const SIGNALS = ['SIGINT', 'SIGTERM'] as const;
type Signal = (typeof SIGNALS)[number];

/**
 * A wish to stop from outside: SIGINT and SIGTERM of the process, or an AbortSignal. The run finishes its update and
 * saves. A second signal ends the process at once, as if nobody had listened.
 */
export class StopSignal {
  private readonly cleanups: (() => void)[] = [];
  private cause: string | null = null;

  constructor(options: {
    handleSignals?: boolean;
    signal?: AbortSignal;
    onRequest?: (cause: string) => void;
  }) {
    const request = (cause: string) => {
      if (this.cause !== null) return;
      this.cause = cause;
      options.onRequest?.(cause);
    };
    if (options.handleSignals) for (const name of SIGNALS) this.listen(name, request);
    const { signal } = options;
    if (signal?.aborted) request('abort');
    else if (signal) {
      const abort = () => request('abort');
      signal.addEventListener('abort', abort, { once: true });
      this.cleanups.push(() => signal.removeEventListener('abort', abort));
    }
  }

  /** What asked for the stop (`SIGINT`, `SIGTERM`, `abort`), or null. */
  get requested(): string | null {
    return this.cause;
  }

  /** Stops listening. */
  dispose(): void {
    for (const cleanup of this.cleanups.splice(0)) cleanup();
  }

  private listen(name: Signal, request: (cause: string) => void): void {
    const handler = () => {
      if (this.cause === null) return request(name);
      this.dispose();
      process.kill(process.pid, name);
    };
    process.on(name, handler);
    this.cleanups.push(() => process.removeListener(name, handler));
  }
}
