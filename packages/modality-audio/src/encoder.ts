/** The audio encoder of data2vec 2.0: convolutions on the waveform, relative positions, span masks, 1-D decoder. */
import {
  type Batch,
  D2vError,
  Decoder1d,
  type EncoderContext,
  ModalityEncoder,
  makeContextEncoder,
  type Pass,
  type RowRandom,
  type Tensor,
  type TokenLayout,
} from '@d2v/core';
import type { AudioConfig } from './config.js';
import { ConvPositions } from './conv-positions.js';
import { type ConvLayer, outputLength, parseConvSpec, samplesFor } from './conv-spec.js';
import { FeatureEncoder } from './feature-encoder.js';
import { blank, blankingFactors, featureLengths, paddingFlags, readWaveforms } from './padding.js';
import { ProjectFeatures } from './project-features.js';

/** State: see `ModalityEncoder`; `local_encoder` are the convolutions. */
export class AudioEncoder extends ModalityEncoder {
  private readonly audio: AudioConfig;
  private readonly layers: readonly ConvLayer[];

  constructor(ctx: EncoderContext<AudioConfig>) {
    const { config, model } = ctx;
    const layers = parseConvSpec(config.feature_encoder_spec);
    super(ctx, {
      localEncoder: new FeatureEncoder(layers, config),
      projectFeatures: new ProjectFeatures(layers.at(-1)![0], model.embed_dim),
      relativePositions: new ConvPositions(config, model.embed_dim),
      contextEncoder: makeContextEncoder(model, config),
      decoder: config.decoder ? new Decoder1d(config.decoder, model.embed_dim) : null,
    });
    this.audio = config;
    this.layers = layers;
  }

  /**
   * With `blank_padding` those of padding are zero. Nothing flows back from there, either: a layer norm of silence, which
   * padding is, has a slope of over 300, and seven of them in a row would drown every other gradient.
   */
  override localFeatures(batch: Batch, pass: Pass): Tensor {
    const x = super.localFeatures(batch, pass);
    const { padding, samples, tokens } = this.layout(batch);
    if (!padding || !this.audio.blank_padding) return x;
    const y = blank(x, blankingFactors(padding, samples, tokens, pass));
    x.dispose();
    return y;
  }

  /** @throws D2vError if a clip is too short to hide a part of it and keep another */
  override drawMask(layout: TokenLayout, clones: number, maskProb: number, random: RowRandom): Uint8Array {
    const { samples, tokens, padding } = layout;
    for (let row = 0; row < samples; row++) {
      if (tokens >= 2 && !padding?.[row * tokens + 1]) continue;
      throw new D2vError(
        `a clip of the batch gives one token, of which nothing can be hidden: set data.min_sample_size to ${samplesFor(this.layers, 2)} or more`,
      );
    }
    return super.drawMask(layout, clones, maskProb, random);
  }

  /** A clip that is shorter than the receptive field counts as one token. */
  override layout(batch: Batch): TokenLayout {
    const waveforms = readWaveforms(batch);
    const tokens = Math.max(1, outputLength(this.layers, waveforms.samples));
    const padding = paddingFlags(featureLengths(this.layers, waveforms), tokens);
    return { samples: waveforms.rows, tokens, padding };
  }
}
