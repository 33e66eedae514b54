/** The optional transformer decoders, as masked autoencoders have them. */
import { EncDecBlock, Linear } from '../nn/index.js';
import type { Tensor } from '../tensor/index.js';
import { BlockEncoder, makeBlock, replace } from './blocks.js';
import type { DecoderConfig, ModelConfig } from './config.js';
import { Decoder, SequenceDecoder } from './decoder.js';
import type { DecoderSource } from './decoder-source.js';
import type { Pass } from './pass.js';

/** Both decoders have this many heads. */
const HEADS = 8;

/** Self-attention over the restored sequence. State: `input_proj`, `encoder.blocks`, `proj`. */
export class TransformerDecoder extends SequenceDecoder {
  private readonly inputProj: Linear;
  private readonly encoder: BlockEncoder;
  private readonly proj: Linear;

  constructor(config: DecoderConfig, model: ModelConfig) {
    super(config);
    const width = config.decoder_dim;
    const blocks = Array.from({ length: config.decoder_layers }, () =>
      makeBlock(model, { width, heads: HEADS, init: 'bert' }),
    );
    this.inputProj = this.child('input_proj', new Linear(model.embed_dim, width));
    this.encoder = this.child(
      'encoder',
      new BlockEncoder(blocks, null, { layerNormFirst: model.layer_norm_first, layerdrop: 0, dropout: 0 }),
    );
    this.proj = this.child('proj', new Linear(width, model.embed_dim));
  }

  protected override hidden(x: Tensor, pass: Pass): Tensor {
    return this.encoder.forward(replace(x, this.inputProj.forward(x)), pass);
  }

  protected override project(x: Tensor): Tensor {
    return this.proj.forward(x);
  }
}

/**
 * Cross-attention: the positions of masked tokens attend to the encoder's output. Its blocks are post-norm, without
 * dropout. State: `input_proj`, `blocks`, `proj`.
 */
export class EncDecTransformerDecoder extends Decoder {
  private readonly inputProj: Linear;
  private readonly blocks: EncDecBlock[];
  private readonly proj: Linear;

  constructor(config: DecoderConfig, width: number) {
    super(config);
    this.inputProj = this.child('input_proj', new Linear(width, config.decoder_dim));
    this.blocks = this.list(
      'blocks',
      Array.from(
        { length: config.decoder_layers },
        (_, i) => new EncDecBlock(config.decoder_dim, width, { heads: HEADS, firstResidual: i > 0 }),
      ),
    );
    this.proj = this.child('proj', new Linear(config.decoder_dim, width));
  }

  override predict(source: DecoderSource, pass: Pass): Tensor {
    const tokens = source.kept();
    const positions = source.maskedPositions();
    let x = replace(positions, this.inputProj.forward(positions));
    for (const block of this.blocks) x = replace(x, block.forward(x, tokens, pass));
    tokens.dispose();
    const y = replace(x, this.proj.forward(x));
    pass.probe?.tensor('decoder_out', y.raw);
    return y;
  }
}
