import type { PrepareContext } from '@d2v/core';

/** How far the steps of a split are, all together: one amount with a total, however many steps run at once. */
export class SplitProgress {
  private done = 0;

  /** @param total of all steps, those among them that were done before */
  constructor(
    private readonly ctx: Pick<PrepareContext<unknown>, 'progress'>,
    private readonly split: string,
    private readonly total: number,
    private readonly unit: 'images' | 'bytes',
  ) {}

  /**
   * Does a step, which advances by what it has done. At its end all of it counts, also where it was done before.
   * @param size what it adds to the total
   */
  async step<T>(size: number, work: (advance: (more: number) => void) => Promise<T>): Promise<T> {
    let own = 0;
    const advance = (more: number) => {
      const counted = Math.min(more, size - own);
      own += counted;
      this.done += counted;
      this.ctx.progress(this.split, this.done, this.total, this.unit);
    };
    const result = await work(advance);
    advance(size - own);
    return result;
  }
}
