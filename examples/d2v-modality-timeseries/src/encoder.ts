/** From series to tokens: patches of consecutive time steps, projected; fixed sine-cosine positions; masks of spans. */
import {
  type Batch,
  D2vError,
  Decoder1d,
  type EncoderContext,
  type HostTensor,
  Linear,
  ModalityEncoder,
  Module,
  makeContextEncoder,
  type Pass,
  type Tensor,
  type TokenLayout,
} from '@d2v/core';
import type { TimeseriesConfig } from './config.js';

/** State: see core's `ModalityEncoder`; `local_encoder.proj` is the projection of patches. */
export class TimeseriesEncoder extends ModalityEncoder {
  private readonly series: TimeseriesConfig;

  constructor(ctx: EncoderContext<TimeseriesConfig>) {
    const { config, model } = ctx;
    super(ctx, {
      localEncoder: new PatchEncoder(config, model.embed_dim),
      fixedPositions: new SinusoidalPositions(),
      contextEncoder: makeContextEncoder(model, config),
      decoder: config.decoder ? new Decoder1d(config.decoder, model.embed_dim) : null,
    });
    this.series = config;
  }

  /** A token is padding if any of its time steps is. */
  override layout(batch: Batch): TokenLayout {
    const { patch_length } = this.series;
    const [samples, steps] = sourceOf(batch, this.series).shape as [number, number];
    const tokens = Math.floor(steps / patch_length);
    const lengths = batch.tensors.lengths!.data;
    const padding = new Uint8Array(samples * tokens);
    for (let b = 0; b < samples; b++) {
      const real = Math.floor(lengths[b]! / patch_length);
      if (real < 1) {
        throw new D2vError(
          `a series of ${lengths[b]} steps is shorter than a token (patch_length ${patch_length}): lower patch_length`,
        );
      }
      padding.fill(1, b * tokens + real, (b + 1) * tokens);
    }
    return { samples, tokens, padding: padding.includes(1) ? padding : null };
  }
}

/** `source` f32 [B, steps, channels]. @throws D2vError if the data has another number of channels */
function sourceOf(batch: Batch, { channels }: TimeseriesConfig): HostTensor {
  const { source } = batch.tensors;
  if (source?.shape[2] !== channels) {
    throw new D2vError(
      `the data has ${source?.shape[2] ?? 0} channels, the model ${channels}: set model.modalities.timeseries.channels`,
    );
  }
  return source;
}

/** State: `proj.weight` [width, patch_length * channels], `proj.bias`. */
class PatchEncoder extends Module {
  private readonly proj: Linear;

  constructor(
    private readonly config: TimeseriesConfig,
    width: number,
  ) {
    super();
    this.proj = this.child(
      'proj',
      new Linear(config.patch_length * config.channels, width, { init: 'xavier' }),
    );
  }

  /** [B, tokens, width] */
  forward(batch: Batch, pass: Pass): Tensor {
    const { data, shape } = sourceOf(batch, this.config);
    const [samples, steps, channels] = shape as [number, number, number];
    const size = this.config.patch_length * channels;
    const tokens = Math.floor(steps / this.config.patch_length);
    // Time-major rows: a patch is contiguous, only steps beyond the last whole patch must go.
    const patches = new Float32Array(samples * tokens * size);
    for (let b = 0; b < samples; b++) {
      const from = b * steps * channels;
      patches.set((data as Float32Array).subarray(from, from + tokens * size), b * tokens * size);
    }
    return this.proj.forward(pass.input({ data: patches, shape: [samples, tokens, size] }));
  }
}

/** Positions for sequences of any length: nothing to learn, nothing to save. */
class SinusoidalPositions extends Module {
  /** [tokens, width] for features [B, tokens, width]. */
  forward(x: Tensor, pass: Pass): Tensor {
    const [, tokens, width] = x.shape as [number, number, number];
    const half = Math.floor(width / 2);
    const table = new Float32Array(tokens * width);
    for (let t = 0; t < tokens; t++) {
      for (let i = 0; i < half; i++) {
        const angle = t / 10_000 ** (i / half);
        table[t * width + i] = Math.sin(angle);
        table[t * width + half + i] = Math.cos(angle);
      }
    }
    return pass.input({ data: table, shape: [tokens, width] });
  }
}
