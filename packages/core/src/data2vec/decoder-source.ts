/** What decoders start from: the encoder's output in the forms that the different decoders want. */
import * as k from '@d2v/cuda-kernels';
import { D2vError } from '../errors.js';
import type { Dropout } from '../nn/index.js';
import { Tensor } from '../tensor/index.js';
import { add, cast, concat, gatherTokens, reshape, restoreTokens, slice } from '../tensor/ops.js';
import { replace } from './blocks.js';
import type { DecoderConfig } from './config.js';
import type { DeviceMask } from './device-mask.js';
import type { PositionEncoder } from './modality-encoder.js';
import type { Pass } from './pass.js';

export interface DecoderSourceOptions {
  /** Whose `add_positions_*` hold. */
  config: Pick<DecoderConfig, 'add_positions_masked' | 'add_positions_all'>;
  /** Extra tokens in front of the encoder's output, which decoders don't see. */
  extra: number;
  noiseStd: number;
  inputDropout: Dropout;
  positions: PositionEncoder | null;
  /** Distinguishes the noise of several decoders. */
  label: string;
}

/** The encoder's output x [R,E+K,D], for one decoder. */
export class DecoderSource {
  constructor(
    private readonly x: Tensor,
    readonly mask: DeviceMask,
    private readonly options: DecoderSourceOptions,
    readonly pass: Pass,
  ) {}

  /** The whole sequence [R,T,D] again: kept tokens at their places, noise elsewhere, positions if configured. */
  restored(): Tensor {
    const { mask, pass, x } = this;
    const { config, extra, noiseStd, label, inputDropout } = this.options;
    const { rows, tokens, keptPerRow } = mask.info;
    const noise = pass.noise([rows, tokens - keptPerRow, x.shape.at(-1)!], mask.clones, noiseStd, label);
    const dropped = inputDropout.forward(x, pass);
    let y = restoreTokens(dropped, mask.restore, extra, noise);
    if (dropped !== x) dropped.dispose();
    if (config.add_positions_masked) y = replace(y, add(y, this.positionsWhereMasked()));
    if (config.add_positions_all) y = replace(y, add(y, this.positions()));
    return y;
  }

  /** The kept tokens [R,K,D], with their positions if configured. */
  kept(): Tensor {
    const { mask, pass, x } = this;
    const { config, extra, inputDropout } = this.options;
    const dropped = inputDropout.forward(x, pass);
    const kept = slice(dropped, 1, extra, mask.info.keptPerRow);
    if (dropped !== x) dropped.dispose();
    if (!config.add_positions_all) return kept;
    return replace(kept, add(kept, gatherTokens(this.table(this.positions()), mask.keep)));
  }

  /** The positions of the masked tokens [R,N,D]. */
  maskedPositions(): Tensor {
    return gatherTokens(this.table(this.positions()), this.mask.masked);
  }

  private positions(): Tensor {
    const { positions } = this.options;
    if (!positions) {
      throw new D2vError(
        'this decoder uses positions, but the modality has no fixed ones: see its configuration',
      );
    }
    return cast(positions.forward(this.x, this.pass), this.pass.dtype);
  }

  /** Positions [R,T,D] where masked, zeros elsewhere: rows of a table that begins with zeros. */
  private positionsWhereMasked(): Tensor {
    const width = this.x.shape.at(-1)!;
    const zeros = new Tensor(this.pass.own(k.zeros([1, width], this.x.dtype, this.pass.device)));
    const table = concat([zeros, reshape(this.positions(), [-1, width])], 0);
    return gatherTokens(this.table(table), this.mask.maskedRows);
  }

  private table(rows: Tensor): Tensor {
    return reshape(rows, [1, -1, rows.shape.at(-1)!]);
  }
}
