import type { Shape } from '../tensor/tensor.js';

/** A plain n-dimensional array of f64 with readable indexing: what the tests' reference computations are written with. */
export class Nd {
  readonly data: Float64Array;
  private readonly strides: number[];

  constructor(
    readonly shape: Shape,
    data?: ArrayLike<number>,
  ) {
    const size = shape.reduce((n, d) => n * d, 1);
    this.data = data ? Float64Array.from(data) : new Float64Array(size);
    this.strides = shape.map((_, i) => shape.slice(i + 1).reduce((n, d) => n * d, 1));
  }

  /** An array whose every element is computed from its index. */
  static build(shape: Shape, element: (...index: number[]) => number): Nd {
    const result = new Nd(shape);
    const index = shape.map(() => 0);
    for (let i = 0; i < result.data.length; i++) {
      result.data[i] = element(...index);
      for (let d = shape.length - 1; d >= 0; d--) {
        index[d]!++;
        if (index[d]! < shape[d]!) break;
        index[d] = 0;
      }
    }
    return result;
  }

  /** The element at an index; zero outside (padding). */
  at(...index: number[]): number {
    let offset = 0;
    for (const [d, i] of index.entries()) {
      if (i < 0 || i >= this.shape[d]!) return 0;
      offset += i * this.strides[d]!;
    }
    return this.data[offset]!;
  }

  /** Another shape of the same size. */
  reshape(shape: Shape): Nd {
    return new Nd(shape, this.data);
  }

  map(fn: (value: number, index: number) => number): Nd {
    return new Nd(this.shape, this.data.map(fn));
  }
}

/** Sum of fn(0) .. fn(n - 1). */
export function total(n: number, fn: (i: number) => number): number {
  let s = 0;
  for (let i = 0; i < n; i++) s += fn(i);
  return s;
}
