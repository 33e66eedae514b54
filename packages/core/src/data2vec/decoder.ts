/** The convolutional decoders (data2vec 2.0, section 3.4): from the encoder's tokens to predictions of the targets. */
import { D2vError } from '../errors.js';
import { Conv1d, Conv2d, LayerNorm, Linear, type LinearInit, Module } from '../nn/index.js';
import { noGrad, type Tensor } from '../tensor/index.js';
import { gatherTokens, reshape } from '../tensor/ops.js';
import { replace } from './blocks.js';
import type { DecoderConfig } from './config.js';
import type { DecoderSource } from './decoder-source.js';
import type { Pass } from './pass.js';

/** Predicts the masked tokens from the encoder's output. */
export abstract class Decoder extends Module {
  constructor(readonly config: DecoderConfig) {
    super();
  }

  /** Predictions [R,N,D]. */
  abstract predict(source: DecoderSource, pass: Pass): Tensor;
}

/** A decoder that works on the whole sequence. Only the hidden states of masked tokens are projected. */
export abstract class SequenceDecoder extends Decoder {
  /** x [R,T,D] to [R,T,C]. Frees the handle of `x`. */
  protected abstract hidden(x: Tensor, pass: Pass): Tensor;

  /** Hidden states [R,N,C] to predictions [R,N,D]. */
  protected abstract project(x: Tensor): Tensor;

  override predict(source: DecoderSource, pass: Pass): Tensor {
    const input = source.restored();
    pass.probe?.tensor('decoder_in', input.raw);
    const hidden = this.hidden(input, pass);
    if (pass.probe) this.probeAll(hidden, pass);
    const chosen = replace(hidden, gatherTokens(hidden, source.mask.masked));
    return replace(chosen, this.project(chosen));
  }

  /** Predictions at all places. */
  private probeAll(hidden: Tensor, pass: Pass): void {
    const all = noGrad(() => this.project(hidden));
    pass.probe?.tensor('decoder_out', all.raw);
    all.dispose();
  }
}

/** A convolution over the tokens, layer norm without affine part, GELU. State: `0` (the convolution). */
class ConvBlock extends Module {
  private readonly conv: Conv1d | Conv2d;
  private readonly norm: LayerNorm;

  constructor(
    inputs: number,
    { decoder_dim, decoder_groups: groups, decoder_kernel: kernel }: DecoderConfig,
    rank: 1 | 2,
  ) {
    super();
    for (const width of [inputs, decoder_dim]) {
      if (width % groups !== 0) {
        throw new D2vError(`decoder_groups is ${groups}, which does not divide the width ${width}`);
      }
    }
    const options = { kernel, groups, padding: 'same' as const };
    const conv =
      rank === 1 ? new Conv1d(inputs, decoder_dim, options) : new Conv2d(inputs, decoder_dim, options);
    this.conv = this.child('0', conv);
    this.norm = new LayerNorm(decoder_dim, { affine: false });
  }

  forward(x: Tensor, residual: Tensor | null): Tensor {
    const y = this.conv.forward(x);
    return replace(y, this.norm.forward(y, { activation: 'gelu', after: residual }));
  }
}

/** Shared by the 1-D and the 2-D decoder. */
abstract class ConvDecoder extends SequenceDecoder {
  private readonly blocks: ConvBlock[];

  constructor(config: DecoderConfig, width: number, rank: 1 | 2) {
    super(config);
    const { decoder_layers, decoder_dim } = config;
    this.blocks = this.list(
      'blocks',
      Array.from(
        { length: decoder_layers },
        (_, i) => new ConvBlock(i === 0 ? width : decoder_dim, config, rank),
      ),
    );
  }

  /** A residual connection goes around a layer whose widths agree. */
  protected run(x: Tensor): Tensor {
    let current = x;
    for (const block of this.blocks) {
      const residual = this.config.decoder_residual && current.shape.at(-1) === this.config.decoder_dim;
      current = replace(current, block.forward(current, residual ? current : null));
    }
    return current;
  }

  protected hiddenWidth(width: number): number {
    return this.config.decoder_layers > 0 ? this.config.decoder_dim : width;
  }
}

export interface DecoderOptions {
  /** Of the linear layers. Default: the uniform one that is usual for linear layers, bias too. */
  init?: LinearInit;
}

/** Several linear layers with GELU between them. State: `0`, `2`, ... */
class Projection extends Module {
  private readonly layers: Linear[] = [];

  constructor(
    width: number,
    output: number,
    { projection_layers, projection_ratio }: DecoderConfig,
    init: LinearInit,
  ) {
    super();
    let inputs = width;
    for (let i = 0; i < projection_layers; i++) {
      const last = i === projection_layers - 1;
      const outputs = last ? output : i === 0 ? Math.trunc(inputs * projection_ratio) : inputs;
      this.layers.push(this.child(String(2 * i), new Linear(inputs, outputs, { init })));
      inputs = outputs;
    }
  }

  forward(x: Tensor): Tensor {
    let current = x;
    for (const [i, layer] of this.layers.entries()) {
      const activation = i < this.layers.length - 1 ? 'gelu' : 'none';
      const y = layer.forward(current, { activation });
      if (current !== x) current.dispose();
      current = y;
    }
    return current;
  }
}

/** Convolutions over a sequence, then one or several linear layers. State: `blocks.<i>.0`, `proj`. */
export class Decoder1d extends ConvDecoder {
  private readonly proj: Linear | Projection;

  /** @param width of the encoder's output and of the predictions */
  constructor(config: DecoderConfig, width: number, { init = 'default' }: DecoderOptions = {}) {
    super(config, width, 1);
    const inputs = this.hiddenWidth(width);
    const single = config.projection_layers === 1;
    this.proj = this.child(
      'proj',
      single ? new Linear(inputs, width, { init }) : new Projection(inputs, width, config, init),
    );
  }

  protected override hidden(x: Tensor, _pass: Pass): Tensor {
    return this.run(x);
  }

  protected override project(x: Tensor): Tensor {
    return this.proj.forward(x);
  }
}

/** Convolutions over a grid of tokens, then a linear layer. State: `blocks.<i>.0`, `proj`. */
export class Decoder2d extends ConvDecoder {
  private readonly proj: Linear;

  /** @param grid height and width in tokens */
  constructor(
    config: DecoderConfig,
    width: number,
    private readonly grid: readonly [number, number],
    { init = 'default' }: DecoderOptions = {},
  ) {
    super(config, width, 2);
    this.proj = this.child('proj', new Linear(this.hiddenWidth(width), width, { init }));
  }

  protected override hidden(x: Tensor, _pass: Pass): Tensor {
    const [rows, tokens, width] = x.shape as [number, number, number];
    const image = replace(x, reshape(x, [rows, ...this.grid, width]));
    const y = this.run(image);
    return replace(y, reshape(y, [rows, tokens, -1]));
  }

  protected override project(x: Tensor): Tensor {
    return this.proj.forward(x);
  }
}
