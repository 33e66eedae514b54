import * as k from '@d2v/cuda-kernels';
import { isEmulated } from './device.js';
import { onGpu } from './options.js';

/** Products of [rows, inner] with [columns, inner]: what a linear layer does. Some square, some as in the presets. */
const SHAPES = [
  { rows: 1024, columns: 1024, inner: 1024 },
  { rows: 2048, columns: 2048, inner: 2048 },
  { rows: 2048, columns: 768, inner: 768 },
  { rows: 4096, columns: 768, inner: 192 },
  { rows: 640, columns: 3072, inner: 768 },
];
/** What fills a GPU: products as large as those of a `base` update, and larger. */
const GPU_SHAPES = [
  { rows: 8192, columns: 8192, inner: 8192 },
  { rows: 16384, columns: 4096, inner: 4096 },
  { rows: 40960, columns: 3072, inner: 768 },
  { rows: 40960, columns: 768, inner: 3072 },
];
/** What the emulation of a GPU can do in a moment: its rates mean nothing. */
const EMULATED_SHAPES = [{ rows: 64, columns: 64, inner: 64 }];
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
    const gpu = onGpu(this.device);
    // One wait for several products: a GPU is asked for the next while it computes.
    const each = gpu ? 10 : 1;
    const shapes = isEmulated(this.device) ? EMULATED_SHAPES : gpu ? GPU_SHAPES : SHAPES;
    for (const { rows, columns, inner } of shapes) {
      const rate = k.scope(() => {
        const { device, dtype } = this;
        const x = noise([rows, inner], dtype, device);
        const w = noise([columns, inner], dtype, device);
        const once = () =>
          k.scope(() => {
            k.linear(x, w, null); // not returned: it would live on in the scope around
          });
        const run = () => {
          for (let i = 0; i < each; i++) once();
          k.synchronize(device);
        };
        run();
        let best = 0;
        const end = performance.now() + SECONDS_PER_SHAPE * 1000;
        do {
          const start = performance.now();
          run();
          best = Math.max(best, (each * 2 * rows * columns * inner) / ((performance.now() - start) / 1000));
        } while (performance.now() < end);
        return best;
      });
      const name = `${rows}x${columns}x${inner}`;
      this.byShape.set(name, Math.max(rate, this.byShape.get(name) ?? 0));
      this.best = Math.max(this.best, rate);
    }
  }
}

/** Random numbers: a GPU's clock depends on how many bits change, and is higher for constants. */
function noise(shape: number[], dtype: 'f32' | 'bf16', device: string): k.RawTensor {
  const raw = k.empty(shape, dtype, device);
  k.normal_(raw, 0, 1, { seed: 1, stream: shape[0]!, update: 0 });
  return raw;
}
