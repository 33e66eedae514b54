/** Fixed two-dimensional sine-cosine positions, as masked autoencoders use them. */
import { D2vError, init, Module, ops, type Parameter, type Tensor } from '@d2v/core';

/**
 * The table of positions of a square grid: the first half of the channels encodes the column, the second the row; each
 * half holds sines, then cosines, of the coordinate times frequencies from 1 down to 1/10000.
 *
 * @param width channels, a multiple of 4
 * @param side tokens per side
 * @returns `[side * side, width]`
 */
export function sinCosPositions(width: number, side: number): Float32Array {
  if (width % 4 !== 0)
    throw new D2vError(`fixed positions need an embed_dim that is a multiple of 4, not ${width}`);
  const quarter = width / 4;
  const table = new Float32Array(side * side * width);
  for (let token = 0; token < side * side; token++) {
    const row = Math.floor(token / side);
    const column = token % side;
    for (let i = 0; i < quarter; i++) {
      const frequency = 1 / 10000 ** (i / quarter);
      const at = token * width + i;
      table[at] = Math.sin(column * frequency);
      table[at + quarter] = Math.cos(column * frequency);
      table[at + 2 * quarter] = Math.sin(row * frequency);
      table[at + 3 * quarter] = Math.cos(row * frequency);
    }
  }
  return table;
}

/** State: `positions` [1, tokens, width], not trained. */
export class FixedPositions extends Module {
  private readonly positions: Parameter;

  constructor(width: number, side: number) {
    super();
    const values = () => sinCosPositions(width, side);
    this.positions = this.buffer('positions', [1, side * side, width], init.values(values));
  }

  /** [tokens, width], for any batch. */
  forward(): Tensor {
    return ops.reshape(this.positions, this.positions.shape.slice(1));
  }
}
