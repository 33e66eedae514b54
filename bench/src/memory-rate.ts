import * as k from '@d2v/cuda-kernels';

const REPEATS = 20;

/** Bytes per second, read and written, of copies within a device's memory: the other ceiling beside matrix products. */
export function memoryRate(device: string, bytes: number): number {
  return k.scope(() => {
    const from = k.zeros([bytes / 4], 'f32', device);
    const to = k.zeros([bytes / 4], 'f32', device);
    const run = (times: number) => {
      for (let i = 0; i < times; i++) k.copy_(to, from);
      k.synchronize(device);
    };
    run(1);
    const start = performance.now();
    run(REPEATS);
    return (REPEATS * 2 * bytes) / ((performance.now() - start) / 1000);
  });
}
