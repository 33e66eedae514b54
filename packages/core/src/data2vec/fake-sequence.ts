/** A small sequence modality for the tests of the model: padding, relative positions, biases, 1-D decoder. */
import { z } from 'zod';
import { type Batch, defineModality, type HostTensor, MODALITY_API } from '../modality/contract.js';
import { Conv1d, LayerNorm, Linear, Module } from '../nn/index.js';
import { Philox } from '../random.js';
import type { Tensor } from '../tensor/index.js';
import { makeContextEncoder, replace } from './blocks.js';
import { type ModelConfig, modalityConfigShape, modelConfigSchema } from './config.js';
import { Decoder1d } from './decoder.js';
import { type EncoderContext, ModalityEncoder, type TokenLayout } from './modality-encoder.js';
import { Data2Vec, type Data2VecOptions } from './model.js';
import type { Pass } from './pass.js';

const schema = z.strictObject({
  ...modalityConfigShape,
  features: z.int().default(6).describe('Numbers per token.'),
  relative: z.boolean().default(true).describe('Relative positions by a convolution.'),
});

class Local extends Module {
  private readonly proj: Linear;

  constructor(inputs: number, width: number) {
    super();
    this.proj = this.child('proj', new Linear(inputs, width, { init: 'default' }));
  }

  forward(batch: Batch, pass: Pass): Tensor {
    return this.proj.forward(pass.input(batch.tensors.source!));
  }
}

class ConvPositions extends Module {
  private readonly conv: Conv1d;
  private readonly norm: LayerNorm;

  constructor(width: number) {
    super();
    this.conv = this.child('conv', new Conv1d(width, width, { kernel: 3, padding: 'same', groups: 2 }));
    this.norm = new LayerNorm(width, { affine: false });
  }

  forward(x: Tensor): Tensor {
    const y = this.conv.forward(x);
    return replace(y, this.norm.forward(y, { activation: 'gelu' }));
  }
}

class SequenceEncoder extends ModalityEncoder {
  constructor(ctx: EncoderContext<z.output<typeof schema>>) {
    const { config, model } = ctx;
    super(ctx, {
      localEncoder: new Local(config.features, model.embed_dim),
      relativePositions: config.relative ? new ConvPositions(model.embed_dim) : null,
      contextEncoder: makeContextEncoder(model, config),
      decoder: config.decoder ? new Decoder1d(config.decoder, model.embed_dim) : null,
    });
  }

  override layout(batch: Batch): TokenLayout {
    const [samples, tokens] = batch.tensors.source!.shape as [number, number];
    return { samples, tokens, padding: (batch.tensors.padding?.data as Uint8Array | undefined) ?? null };
  }
}

const never = () => {
  throw new Error('not part of this test');
};

export const sequenceModality = defineModality({
  name: 'sequence',
  api: MODALITY_API,
  moduleUrl: import.meta.url,
  configSchema: schema,
  dataSchema: z.object({}),
  presets: { tiny: { description: 'for tests', config: {} } },
  supports: { padding: true },
  createEncoder: (ctx) => new SequenceEncoder(ctx),
  openData: never,
  openInputs: never,
  collate: never,
  datasets: {},
});

/** A configuration of width 16 without any dropout; `modality` is the sequence's own part. */
export function sequenceConfig(
  model: Partial<z.input<typeof modelConfigSchema>> = {},
  modality: Partial<z.input<typeof schema>> = {},
): ModelConfig {
  return modelConfigSchema.parse({
    depth: 2,
    embed_dim: 16,
    num_heads: 2,
    encoder_dropout: 0,
    post_mlp_drop: 0,
    attention_dropout: 0,
    average_top_k_layers: 2,
    instance_norm_target_layer: true,
    clone_batch: 3,
    ema_decay: 0.9,
    ema_end_decay: 0.9,
    ema_encoder_only: false,
    seed: 5,
    ...model,
    modalities: {
      sequence: {
        prenet_depth: 1,
        mask_length: 2,
        mask_prob: 0.5,
        decoder: {
          decoder_dim: 16,
          decoder_groups: 2,
          decoder_kernel: 3,
          decoder_layers: 2,
          input_dropout: 0,
        },
        ...modality,
      },
    },
  });
}

/** A model of that configuration. */
export function sequenceModel(
  model: Parameters<typeof sequenceConfig>[0] = {},
  modality: Parameters<typeof sequenceConfig>[1] = {},
  options: Partial<Data2VecOptions> = {},
): Data2Vec {
  return Data2Vec.create({
    config: sequenceConfig(model, modality),
    modalities: [sequenceModality],
    ...options,
  });
}

/** Random sequences; `lengths` shorter than the longest one are padded (with large values, to see that they are unseen). */
export function sequenceBatch(lengths: number[], seed = 1, features = 6): Batch {
  const tokens = Math.max(...lengths);
  const source = new Float32Array(lengths.length * tokens * features).fill(50);
  const padding = new Uint8Array(lengths.length * tokens);
  for (const [b, length] of lengths.entries()) {
    const rng = new Philox(seed).fork('sequence', b);
    for (let i = 0; i < length * features; i++) source[b * tokens * features + i] = rng.normal();
    padding.fill(1, b * tokens + length, (b + 1) * tokens);
  }
  const tensors: Record<string, HostTensor> = {
    source: { data: source, shape: [lengths.length, tokens, features] },
  };
  if (padding.includes(1)) tensors.padding = { data: padding, shape: [lengths.length, tokens] };
  return { size: lengths.length, tensors, ids: lengths.map((_, b) => b) };
}

/** Samples [from, to) of a batch. */
export function sliceBatch(batch: Batch, from: number, to: number): Batch {
  const tensors = Object.fromEntries(
    Object.entries(batch.tensors).map(([name, { data, shape }]) => {
      const each = data.length / batch.size;
      return [name, { data: data.slice(from * each, to * each), shape: [to - from, ...shape.slice(1)] }];
    }),
  );
  return { size: to - from, tensors, ids: batch.ids.slice(from, to) };
}
