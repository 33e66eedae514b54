/** The image encoder of data2vec 2.0: a vision transformer's patches, block masks, convolutional decoder. */
import {
  type Batch,
  type Coordinates,
  type Decoder,
  Decoder2d,
  EncDecTransformerDecoder,
  type EncoderContext,
  gridCoordinates,
  lineCoordinates,
  ModalityEncoder,
  type ModelConfig,
  makeContextEncoder,
  maskBlocks2d,
  type Pass,
  type RowRandom,
  raw,
  type TokenLayout,
  TransformerDecoder,
} from '@d2v/core';
import type { ImageConfig } from './config.js';
import { batchImages, gridSide, PatchEmbed, type PatchOptions, ProjectedPatchEmbed } from './patch-embed.js';
import { FixedPositions } from './positions.js';

/** State: see `ModalityEncoder`; `local_encoder` is the patch embedding. */
export class ImageEncoder extends ModalityEncoder {
  override readonly reconWidth: number;
  private readonly image: ImageConfig;
  private readonly patches: PatchOptions;
  private readonly side: number;

  constructor(ctx: EncoderContext<ImageConfig>) {
    const { config, model } = ctx;
    const patches = { inputSize: config.input_size, channels: config.in_chans, patchSize: config.patch_size };
    const side = gridSide(patches);
    super(ctx, {
      localEncoder:
        config.embed_dim === model.embed_dim
          ? new PatchEmbed(patches, config.embed_dim)
          : new ProjectedPatchEmbed(
              patches,
              config.embed_dim,
              model.embed_dim,
              model.mae_init ? 'xavier' : 'bert',
            ),
      fixedPositions: config.fixed_positions ? new FixedPositions(model.embed_dim, side) : null,
      contextEncoder: makeContextEncoder(model, config),
      decoder: makeDecoder(config, model, side),
      euclidean: config.alibi_dims === 2 && config.alibi_distance === 'euclidean',
    });
    this.image = config;
    this.patches = patches;
    this.side = side;
    this.reconWidth = config.in_chans * config.patch_size ** 2;
  }

  override layout(batch: Batch): TokenLayout {
    const { side } = this;
    return { samples: batch.size, tokens: side ** 2, padding: null, grid: [side, side] };
  }

  override coordinates(tokens: number): Coordinates {
    return this.image.alibi_dims === 2 ? gridCoordinates(this.side, this.side) : lineCoordinates(tokens);
  }

  override drawMask(layout: TokenLayout, clones: number, maskProb: number, random: RowRandom): Uint8Array {
    const { mask_length, mask_prob_adjust, inverse_mask, mask_dropout } = this.image;
    if (mask_length === 1) return super.drawMask(layout, clones, maskProb, random);
    return maskBlocks2d(
      layout.samples * clones,
      [this.side, this.side],
      {
        maskProb,
        maskLength: mask_length,
        maskProbAdjust: mask_prob_adjust,
        inverseMask: inverse_mask,
        maskDropout: mask_dropout,
      },
      random,
    );
  }

  /** Pixels of each patch (channels last), brought to mean 0 and unbiased variance 1: f32 [B, patches, pixels]. */
  override reconTargets(batch: Batch, pass: Pass): raw.RawTensor {
    const { data, shape } = batchImages(batch, this.patches);
    const { patch_size: patch } = this.image;
    return raw.scope(() => {
      const images = raw.fromArray(data, shape, { device: pass.device });
      const pixels = raw.patchify(images, [patch, patch], 'pqc');
      // The layer norm has the biased variance: move the factor between the two to the outside.
      const factor = (this.reconWidth - 1) / this.reconWidth;
      return raw.scale(raw.layerNorm(pixels, { eps: 1e-6 * factor }).y, Math.sqrt(factor));
    });
  }
}

function makeDecoder(config: ImageConfig, model: ModelConfig, side: number): Decoder | null {
  const { decoder, transformer_decoder, enc_dec_transformer } = config;
  if (!decoder) return null;
  if (!transformer_decoder) return new Decoder2d(decoder, model.embed_dim, [side, side]);
  return enc_dec_transformer
    ? new EncDecTransformerDecoder(decoder, model.embed_dim)
    : new TransformerDecoder(decoder, model);
}
