/** Wall time of a run, over its resumes, and what is left of it. */
export class RunClock {
  private readonly started = performance.now();
  private readonly firstUpdate: number;

  /**
   * @param before seconds that earlier processes of the run took
   * @param update update that this process starts from
   */
  constructor(
    private readonly before: number,
    update: number,
    private readonly limits: { maxUpdate: number | null; maxSeconds: number | null },
  ) {
    this.firstUpdate = update;
  }

  get seconds(): number {
    return this.before + this.inProcess;
  }

  /** Share of the run that is over, by the limit that is nearer; null without a limit. */
  progress(update: number): number | null {
    const { maxUpdate, maxSeconds } = this.limits;
    const shares = [
      maxUpdate === null ? null : update / maxUpdate,
      maxSeconds === null ? null : this.seconds / maxSeconds,
    ].filter((share) => share !== null);
    return shares.length > 0 ? Math.min(1, Math.max(...shares)) : null;
  }

  /** Seconds to the nearer limit at the pace of this process; null if unknown. */
  eta(update: number): number | null {
    const { maxUpdate, maxSeconds } = this.limits;
    const done = update - this.firstUpdate;
    const left: number[] = [];
    if (maxUpdate !== null && done > 0) left.push(((maxUpdate - update) * this.inProcess) / done);
    if (maxSeconds !== null) left.push(maxSeconds - this.seconds);
    return left.length > 0 ? Math.max(0, Math.min(...left)) : null;
  }

  private get inProcess(): number {
    return (performance.now() - this.started) / 1000;
  }
}
