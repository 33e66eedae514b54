import { type Batch, Data2Vec, modelConfigSchema, Pass, Philox, raw, type z } from '@d2v/core';
import { describe, expect, it } from 'vitest';
import type { imageConfigSchema } from './config.js';
import imageModality from './index.js';
import { batchImages } from './patch-embed.js';
import { sinCosPositions } from './positions.js';

function build(
  image: Partial<z.input<typeof imageConfigSchema>> = {},
  model: Partial<z.input<typeof modelConfigSchema>> = {},
) {
  const config = modelConfigSchema.parse({
    depth: 1,
    embed_dim: 16,
    num_heads: 2,
    encoder_dropout: 0,
    post_mlp_drop: 0,
    attention_dropout: 0,
    clone_batch: 2,
    ema_decay: 0.9,
    ema_end_decay: 0.9,
    ...model,
    modalities: {
      image: {
        prenet_depth: 0,
        input_size: 12,
        patch_size: 4,
        embed_dim: 16,
        mask_prob: 0.6,
        mask_length: 2,
        decoder: {
          decoder_dim: 16,
          decoder_groups: 2,
          decoder_kernel: 3,
          decoder_layers: 1,
          input_dropout: 0,
        },
        ...image,
      },
    },
  });
  return Data2Vec.create({ config, modalities: [imageModality], seed: 1 });
}

function images(size: number, channels = 3, count = 2): Batch {
  const rng = new Philox(2);
  const data = Float32Array.from({ length: count * channels * size * size }, () => rng.normal());
  const ids = Array.from({ length: count }, (_, i) => i);
  return { size: count, tensors: { source: { data, shape: [count, channels, size, size] } }, ids };
}

function update(model: Data2Vec, batch: Batch) {
  const plan = model.plan(batch, { modality: 'image', update: 0, firstSample: 0 });
  const result = model.forward(plan, { totalSampleSize: plan.sampleSize });
  result.backward();
  return { plan, result };
}

describe('ImageEncoder', () => {
  it.each([
    ['other patches', { patch_size: 3 }, 12, 16],
    ['one channel', { in_chans: 1 }, 12, 9],
    ['a size that is no multiple of the patch', { input_size: 14 }, 14, 9],
    ['a patch embedding of another width', { embed_dim: 8 }, 12, 9],
    ['single masked patches', { mask_length: 1 }, 12, 9],
    ['no positions', { fixed_positions: false }, 12, 9],
    ['a transformer decoder', { transformer_decoder: true }, 12, 9],
    ['a cross-attention decoder', { transformer_decoder: true, enc_dec_transformer: true }, 12, 9],
    ['distances along the sequence', { use_alibi_encoder: true, alibi_dims: 1 as const }, 12, 9],
    ['a learned bias', { use_alibi_encoder: true, learned_alibi: true, alibi_max_pos: 9 }, 12, 9],
  ])('learns with %s', (_name, image, size, tokens) => {
    const model = build(image);
    const { plan, result } = update(model, images(size, 'in_chans' in image ? image.in_chans : 3));
    expect(plan.mask.tokens).toBe(tokens);
    expect(Number.isFinite(result.loss)).toBe(true);
    expect(model.arena.gradNorm()).toBeGreaterThan(0);
    model.dispose();
  });

  it('masks blocks: the same number in every row', () => {
    const model = build({
      inverse_mask: true,
      mask_prob: 0.8,
      input_size: 56,
      mask_length: 3,
      mask_prob_adjust: 0.07,
    });
    const plan = model.plan(images(56), { modality: 'image', update: 0, firstSample: 0 });
    expect([plan.mask.rows, plan.mask.keptPerRow]).toEqual([4, 39]);
    model.dispose();
  });

  it('reconstructs normalised patches, channels last', () => {
    const model = build({}, { recon_loss: 1, d2v_loss: 0 });
    const batch = images(12);
    const pass = new Pass({ seed: 1, update: 0, training: false, device: 'cpu', dtype: 'f32' });
    const target = model.student.encoder('IMAGE').reconTargets(batch, pass);
    expect(target.shape).toEqual([2, 9, 48]);
    const values = raw.toArray(target) as Float32Array;
    const { data } = batch.tensors.source!;
    // Patch (row 1, column 2) of the second image.
    const pixels = Array.from({ length: 48 }, (_, i) => {
      const [y, x, c] = [Math.floor(i / 12), Math.floor(i / 3) % 4, i % 3];
      return data[((3 + c) * 12 + 4 + y) * 12 + 8 + x]!;
    });
    const mean = pixels.reduce((a, b) => a + b) / 48;
    const variance = pixels.reduce((a, b) => a + (b - mean) ** 2, 0) / 47;
    for (const [i, pixel] of pixels.entries()) {
      expect(values[(9 + 5) * 48 + i]).toBeCloseTo((pixel - mean) / Math.sqrt(variance + 1e-6), 4);
    }
    expect(Object.keys(update(model, batch).result.losses)).toEqual(['recon']);
    model.dispose();
  });

  it('starts the patch embedding within Xavier bounds', () => {
    const model = build();
    const weight = model.stateDict().get('modality_encoders.IMAGE.local_encoder.proj.weight')!;
    expect(weight.shape).toEqual([16, 3, 4, 4]);
    const bound = Math.sqrt(6 / (48 + 16));
    const values = raw.toArray(weight) as Float32Array;
    expect(Math.max(...values)).toBeLessThanOrEqual(bound);
    expect(Math.max(...values)).toBeGreaterThan(0.95 * bound);
    model.dispose();
  });

  it('says which images it takes', () => {
    const model = build();
    expect(() => update(model, images(16))).toThrow(/3 x 12 x 12, the batch has \[2, 3, 16, 16\]/);
    expect(() => build({ patch_size: 20 })).toThrow(/patch_size 20 is larger/);
    expect(() => build({ embed_dim: 18 }, { embed_dim: 18 })).toThrow(/multiple of 4/);
    model.dispose();
  });
});

it('cuts images to whole patches', () => {
  const batch = images(5, 1, 1);
  const cut = batchImages(batch, { inputSize: 5, channels: 1, patchSize: 2 });
  const { data } = batch.tensors.source!;
  expect(cut.shape).toEqual([1, 1, 4, 4]);
  expect(Array.from(cut.data)).toEqual([0, 1, 2, 3].flatMap((y) => [...data.subarray(5 * y, 5 * y + 4)]));
});

it('encodes the column in the first half of the channels and the row in the second', () => {
  const table = sinCosPositions(8, 3);
  const at = (row: number, column: number) => [
    ...table.subarray((row * 3 + column) * 8, (row * 3 + column + 1) * 8),
  ];
  expect(at(0, 0)).toEqual([0, 0, 1, 1, 0, 0, 1, 1]);
  const near = (values: number[]) => values.map((v) => expect.closeTo(v, 6));
  expect(at(2, 1)).toEqual(
    near([
      Math.sin(1),
      Math.sin(0.01),
      Math.cos(1),
      Math.cos(0.01),
      Math.sin(2),
      Math.sin(0.02),
      Math.cos(2),
      Math.cos(0.02),
    ]),
  );
});
