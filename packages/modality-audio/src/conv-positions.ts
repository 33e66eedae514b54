/** Relative positions: grouped convolutions over time, each with a layer norm without affine part and GELU. */
import {
  Conv1d,
  D2vError,
  LayerNorm,
  Module,
  ModuleDict,
  type Pass,
  type raw,
  type Tensor,
  type TokenLayout,
} from '@d2v/core';
import type { AudioConfig } from './config.js';
import { blank, blankingFactors } from './padding.js';

type ConvPositionsConfig = Pick<
  AudioConfig,
  'conv_pos_width' | 'conv_pos_depth' | 'conv_pos_groups' | 'conv_pos_pre_ln' | 'blank_padding'
>;

/** State: `0` (the convolution). */
class PositionLayer extends Module {
  private readonly conv: Conv1d;
  private readonly norm: LayerNorm;

  constructor(width: number, kernel: number, groups: number) {
    super();
    this.conv = this.child('0', new Conv1d(width, width, { kernel, groups, padding: 'same' }));
    this.norm = new LayerNorm(width, { affine: false });
  }

  forward(x: Tensor): Tensor {
    const y = this.conv.forward(x);
    const normed = this.norm.forward(y, { activation: 'gelu' });
    y.dispose();
    return normed;
  }
}

/** State: `<i+1>.0`; with `conv_pos_pre_ln` the norm is `0` and the convolutions are `1.<i+1>.0`. */
export class ConvPositions extends Module {
  private readonly layers: PositionLayer[];
  private readonly norm: LayerNorm | null;

  constructor(
    private readonly config: ConvPositionsConfig,
    width: number,
  ) {
    super();
    const { conv_pos_depth: depth, conv_pos_groups: groups, conv_pos_pre_ln } = config;
    if (width % groups !== 0) {
      throw new D2vError(
        `conv_pos_groups is ${groups}, which does not divide the model's embed_dim ${width}: choose a divisor`,
      );
    }
    const kernel = Math.max(3, Math.floor(config.conv_pos_width / depth));
    this.layers = Array.from({ length: depth }, () => new PositionLayer(width, kernel, groups));
    const named = this.layers.map((layer, i): [string, Module] => [String(i + 1), layer]);
    this.norm = conv_pos_pre_ln ? this.child('0', new LayerNorm(width)) : null;
    if (conv_pos_pre_ln) this.child('1', new ModuleDict(named));
    else for (const [name, layer] of named) this.child(name, layer);
  }

  /**
   * Positions for x [R,T,D], of the same shape. With `blank_padding` every convolution sees zeros beyond the end of a
   * row, as it does when the row is alone.
   */
  forward(x: Tensor, pass: Pass, layout?: TokenLayout): Tensor {
    const padding = this.config.blank_padding ? layout?.padding : null;
    const [rows, tokens] = x.shape as [number, number, number];
    const factors = padding ? blankingFactors(padding, rows, tokens, pass) : null;
    let y = this.norm ? this.norm.forward(x) : x;
    for (const layer of this.layers) {
      const input = blanked(y, x, factors);
      y = layer.forward(input);
      if (input !== x) input.dispose();
    }
    return y;
  }
}

/** y with its padding blanked; frees y's handle unless it is the caller's x. */
function blanked(y: Tensor, x: Tensor, factors: raw.RawTensor | null): Tensor {
  if (!factors) return y;
  const z = blank(y, factors);
  if (y !== x) y.dispose();
  return z;
}
