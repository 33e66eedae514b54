/** The waveform to local features: strided convolutions without bias, norms and GELU (wav2vec 2.0, section 2). */
import {
  type Batch,
  Conv1d,
  init,
  LayerNorm,
  Module,
  ModuleDict,
  ops,
  type Parameter,
  type Pass,
  type Tensor,
} from '@d2v/core';
import type { AudioConfig } from './config.js';
import { type ConvLayer, outputLength, receptiveField } from './conv-spec.js';
import { readWaveforms } from './padding.js';

/** Normalises [B,T,C] and applies GELU. Frees the handle of `x`. @param lengths of the rows without padding, or null */
interface Norm {
  forward(x: Tensor, lengths: Int32Array | null): Tensor;
}

/** Layer norm over the channels of each feature. State: `1.weight`, `1.bias`. */
class FeatureNorm extends ModuleDict<LayerNorm> implements Norm {
  constructor(width: number) {
    super([['1', new LayerNorm(width)]]);
  }

  forward(x: Tensor): Tensor {
    const y = this.get('1')!.forward(x, { activation: 'gelu' });
    x.dispose();
    return y;
  }
}

/** Normalises each channel of each row over time (a group norm with a group per channel). State: `weight`, `bias`. */
class TimeNorm extends Module implements Norm {
  private readonly weight: Parameter;
  private readonly bias: Parameter;

  constructor(width: number) {
    super();
    this.weight = this.param('weight', [width], { init: init.ones });
    this.bias = this.param('bias', [width], { init: init.zeros });
  }

  forward(x: Tensor, lengths: Int32Array | null): Tensor {
    const normed = lengths ? this.perRow(x, lengths) : ops.instanceNorm(x);
    x.dispose();
    const [weight, bias] = [this.weight, this.bias].map((p) => ops.cast(p, normed.dtype as 'f32' | 'bf16'));
    return ops.gelu(ops.add(ops.mul(normed, weight!), bias!));
  }

  /** The statistics of each row without its padding; what comes after its end is of no use and left as it is. */
  private perRow(x: Tensor, lengths: Int32Array): Tensor {
    const tokens = x.shape[1]!;
    const rows = Array.from(lengths, (length, row) => {
      const whole = ops.slice(x, 0, row, 1);
      const inside = ops.instanceNorm(ops.slice(whole, 1, 0, length));
      return length === tokens
        ? inside
        : ops.concat([inside, ops.slice(whole, 1, length, tokens - length)], 1);
    });
    return ops.concat(rows, 0);
  }
}

/** One convolution. State: `0.weight`, and `2` (the norm). */
class FeatureLayer extends Module {
  private readonly conv: Conv1d;
  private readonly norm: (Norm & Module) | null;

  constructor(inputs: number, [dim, kernel, stride]: ConvLayer, norm: (Norm & Module) | null) {
    super();
    const weight = init.kaimingNormal(inputs * kernel);
    this.conv = this.child('0', new Conv1d(inputs, dim, { kernel, stride, bias: false, init: { weight } }));
    this.norm = norm ? this.child('2', norm) : null;
  }

  /** Frees the handle of `x`. */
  forward(x: Tensor, lengths: Int32Array | null): Tensor {
    const y = this.conv.forward(x);
    x.dispose();
    if (this.norm) return this.norm.forward(y, lengths);
    const activated = ops.gelu(y);
    y.dispose();
    return activated;
  }
}

/** State: `conv_layers.<i>`. */
export class FeatureEncoder extends Module {
  private readonly layers: FeatureLayer[];
  private readonly receptive: number;

  constructor(
    private readonly spec: readonly ConvLayer[],
    private readonly config: Pick<AudioConfig, 'extractor_mode' | 'blank_padding'>,
  ) {
    super();
    this.receptive = receptiveField(spec);
    const normOf = (dim: number, i: number) => {
      if (config.extractor_mode === 'layer_norm') return new FeatureNorm(dim);
      return i === 0 ? new TimeNorm(dim) : null;
    };
    this.layers = this.list(
      'conv_layers',
      spec.map((layer, i) => new FeatureLayer(i === 0 ? 1 : spec[i - 1]![0], layer, normOf(layer[0], i))),
    );
  }

  /** [B, T, dim of the last layer]; a batch shorter than the receptive field is filled up with zeros. */
  forward(batch: Batch, pass: Pass): Tensor {
    const { data, rows, samples, lengths } = readWaveforms(batch);
    const width = Math.max(samples, this.receptive);
    let x = pass.input({ data: widen(data, rows, width), shape: [rows, width, 1] });
    // Only a norm over time needs to know where rows end; the original does not tell it.
    let ends = this.config.blank_padding ? lengths : null;
    for (const [i, layer] of this.layers.entries()) {
      const own = this.spec.slice(i, i + 1);
      ends = ends?.map((n) => Math.max(1, outputLength(own, n))) ?? null;
      x = layer.forward(x, ends);
    }
    return x;
  }
}

/** Rows of another length, filled up with zeros. */
function widen(data: Float32Array, rows: number, width: number): Float32Array {
  const before = data.length / rows;
  if (before === width) return data;
  const wide = new Float32Array(rows * width);
  for (let row = 0; row < rows; row++) wide.set(data.subarray(row * before, (row + 1) * before), row * width);
  return wide;
}
