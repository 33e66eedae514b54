import type { RawTensor } from '@d2v/cuda-kernels';
import * as k from '@d2v/cuda-kernels';
import { hashString } from '../random.js';
import type { Shape } from '../tensor/tensor.js';

/** How a tensor starts. `padding`: a row of zeros afterwards (embedding tables). */
export type Init =
  | { kind: 'constant'; value: number }
  | { kind: 'normal'; mean?: number; std: number; padding?: number }
  | { kind: 'uniform'; bound: number }
  | { kind: 'values'; values: () => Float32Array };

export const zeros: Init = { kind: 'constant', value: 0 };
export const ones: Init = { kind: 'constant', value: 1 };
export const constant = (value: number): Init => ({ kind: 'constant', value });
export const normal = (std: number, mean = 0): Init => ({ kind: 'normal', mean, std });
export const uniform = (bound: number): Init => ({ kind: 'uniform', bound });
/** Fixed numbers, computed when the arena is built. */
export const values = (make: () => Float32Array): Init => ({ kind: 'values', values: make });

/** N(0, 0.02), as BERT's linear and embedding weights; `padding` names a row that stays zero. */
export const bert = (padding?: number): Init => ({ kind: 'normal', std: 0.02, padding });

/** Inputs and outputs of one unit of a weight [out, in, ...kernel]. */
export function fans(shape: Shape): { fanIn: number; fanOut: number } {
  const field = shape.slice(2).reduce((n, d) => n * d, 1);
  return { fanIn: (shape[1] ?? 1) * field, fanOut: (shape[0] ?? 1) * field };
}

/** Glorot: uniform within sqrt(6 / (fan in + fan out)) of a matrix [out, in]. */
export function xavierUniform(out: number, inputs: number): Init {
  return uniform(Math.sqrt(6 / (out + inputs)));
}

/** He: normal with standard deviation sqrt(2 / fan in). */
export function kaimingNormal(fanIn: number): Init {
  return normal(Math.sqrt(2 / fanIn));
}

/** He with a = sqrt(5), what common frameworks give linear and convolution weights, and biases: +-1/sqrt(fan in). */
export function frameworkDefault(fanIn: number): Init {
  return uniform(1 / Math.sqrt(fanIn));
}

/** Fills a tensor. The numbers depend on the seed and the name only: not on the device, nor on what else is made. */
export function initialise(t: RawTensor, init: Init, name: string, seed: number): void {
  const key = { seed, update: 0, stream: hashString(name) };
  switch (init.kind) {
    case 'constant':
      k.fill_(t, init.value);
      return;
    case 'normal':
      k.normal_(t, init.mean ?? 0, init.std, key);
      if (init.padding !== undefined) {
        const width = t.size / t.shape[0]!;
        const row = t.view(init.padding * width, [width]);
        k.fill_(row, 0);
        row.dispose();
      }
      return;
    case 'uniform':
      k.uniform_(t, -init.bound, init.bound, key);
      return;
    case 'values':
      k.write_(t, init.values());
      return;
    default:
      init satisfies never;
  }
}
