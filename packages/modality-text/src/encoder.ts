/** The text encoder of data2vec 2.0: token and position embeddings, single tokens masked, a 1-D decoder. */
import {
  type Batch,
  Decoder1d,
  type EncoderContext,
  ModalityEncoder,
  makeContextEncoder,
  modelInit,
  type TokenLayout,
} from '@d2v/core';
import type { TextConfig } from './config.js';
import { batchTokens, TokenEmbedding } from './token-embedding.js';

/** State: see `ModalityEncoder`; `local_encoder` is a `TokenEmbedding`. */
export class TextEncoder extends ModalityEncoder {
  private readonly text: TextConfig;

  constructor(ctx: EncoderContext<TextConfig>) {
    const { config, model } = ctx;
    // Without blocks of its own, text has neither a norm nor dropout before the shared ones.
    const own = config.prenet_depth > 0;
    super(ctx, {
      localEncoder: new TokenEmbedding(config, model.embed_dim, model.mae_init),
      contextEncoder: makeContextEncoder(
        model,
        { ...config, prenet_dropout: own ? config.prenet_dropout : 0 },
        { norm: own && !model.layer_norm_first },
      ),
      decoder: config.decoder
        ? new Decoder1d(config.decoder, model.embed_dim, { init: modelInit(model) })
        : null,
    });
    this.text = config;
  }

  override layout(batch: Batch): TokenLayout {
    const { samples, tokens, padding } = batchTokens(batch, this.text);
    return { samples, tokens, padding };
  }
}
