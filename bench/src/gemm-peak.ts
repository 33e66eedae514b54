import * as k from '@d2v/cuda-kernels';

/** Products of [rows, inner] with [columns, inner]: what a linear layer does. Some square, some as in the presets. */
const SHAPES = [
  { rows: 1024, columns: 1024, inner: 1024 },
  { rows: 2048, columns: 2048, inner: 2048 },
  { rows: 2048, columns: 768, inner: 768 },
  { rows: 4096, columns: 768, inner: 192 },
  { rows: 640, columns: 3072, inner: 768 },
];
const SECONDS_PER_SHAPE = 0.15;

/**
 * The rate of plain matrix products in this process, on this device, with these threads: the ceiling that updates are
 * compared with. Measured again before and after every round of updates, because a shared machine changes its speed;
 * the best of all counts, which is the strictest ceiling.
 */
export class GemmPeak {
  /** Best FLOP/s so far. */
  best = 0;
  private readonly byShape = new Map<string, number>();

  constructor(
    private readonly device: string,
    private readonly dtype: 'f32' | 'bf16',
  ) {}

  /** Best FLOP/s of each shape so far. */
  get shapes(): Record<string, number> {
    return Object.fromEntries(this.byShape);
  }

  measure(): void {
    for (const { rows, columns, inner } of SHAPES) {
      const rate = k.scope(() => {
        const { device, dtype } = this;
        const x = k.full([rows, inner], 0.5, dtype, device);
        const w = k.full([columns, inner], 0.25, dtype, device);
        const once = () => k.scope(() => k.item(k.linear(x, w, null).y.view(0, [1])));
        once();
        let best = 0;
        const end = performance.now() + SECONDS_PER_SHAPE * 1000;
        do {
          const start = performance.now();
          once();
          best = Math.max(best, (2 * rows * columns * inner) / ((performance.now() - start) / 1000));
        } while (performance.now() < end);
        return best;
      });
      const name = `${rows}x${columns}x${inner}`;
      this.byShape.set(name, Math.max(rate, this.byShape.get(name) ?? 0));
      this.best = Math.max(this.best, rate);
    }
  }
}
