import { type Batch, Data2Vec, modelConfigSchema, Philox, raw, type z } from '@d2v/core';
import { describe, expect, it } from 'vitest';
import { collateText } from './collate.js';
import type { textConfigSchema } from './config.js';
import textModality from './index.js';
import { positionNumbers, sinusoids } from './positions.js';
import { BOS, EOS, PAD } from './special-tokens.js';

function build(
  text: Partial<z.input<typeof textConfigSchema>> = {},
  model: Partial<z.input<typeof modelConfigSchema>> = {},
) {
  const config = modelConfigSchema.parse({
    depth: 2,
    embed_dim: 16,
    num_heads: 2,
    average_top_k_layers: 2,
    clone_batch: 2,
    ema_decay: 0.9,
    ema_end_decay: 0.9,
    ...model,
    modalities: {
      text: {
        prenet_depth: 0,
        vocab_size: 30,
        max_source_positions: 12,
        mask_prob: 0.5,
        mask_length: 1,
        decoder: {
          decoder_dim: 16,
          decoder_groups: 1,
          decoder_kernel: 3,
          decoder_layers: 1,
          projection_layers: 2,
        },
        ...text,
      },
    },
  });
  return Data2Vec.create({ config, modalities: [textModality], seed: 1 });
}

/** Sentences of these lengths, special tokens included. */
function sentences(...lengths: number[]): Batch {
  return collateText(
    lengths.map((length, id) => {
      const rng = new Philox(3).fork(id);
      const data = Int32Array.from({ length }, (_, i) =>
        i === 0 ? BOS : i === length - 1 ? EOS : 4 + rng.int(25),
      );
      return { tensors: { source: { data, shape: [length] } }, id };
    }),
  );
}

function losses(model: Data2Vec, batch: Batch, mask?: Uint8Array) {
  const plan = model.plan(batch, { modality: 'text', update: 0, firstSample: 0, mask });
  const result = model.forward(plan, { totalSampleSize: plan.sampleSize });
  result.backward();
  return result;
}

describe('TextEncoder', () => {
  it.each([
    ['fixed positions', { learned_pos: false }],
    ['no positions', { no_token_positional_embeddings: true }],
    ['scaled embeddings', { no_scale_embedding: false }],
    ['no norm', { layernorm_embedding: false }],
    ['blocks of its own', { prenet_depth: 1, prenet_dropout: 0.1 }],
    ['spans', { mask_length: 3 }],
    ['distances', { use_alibi_encoder: true, learned_alibi_scale: true, learned_alibi_scale_per_head: true }],
    ['extra tokens', { num_extra_tokens: 1 }],
    ['odd width of the decoder', { decoder: { decoder_dim: 12, decoder_groups: 2, decoder_kernel: 4 } }],
  ])('trains with %s', (_, text) => {
    const model = build(text);
    const { loss } = losses(model, sentences(9, 9, 6));
    expect(Number.isFinite(loss)).toBe(true);
    model.dispose();
  });

  it('trains in bf16, and with a batch of one', () => {
    const plain = build();
    const { config } = plain;
    plain.dispose();
    const model = Data2Vec.create({ config, modalities: [textModality], seed: 1, dtype: 'bf16' });
    for (const batch of [sentences(8, 5), sentences(2)]) {
      expect(Number.isFinite(losses(model, batch).loss)).toBe(true);
    }
    model.dispose();
  });

  it.each([{}, { learned_pos: false }, { use_alibi_encoder: true, prenet_depth: 1 }])(
    'gives features that depend neither on padding nor on the batch: %j',
    (text) => {
      const model = build(text);
      const features = (batch: Batch) => model.embed(batch, { modality: 'text', pool: 'mean' })[0]!.data;
      const together = features(sentences(5, 11, 8));
      const lengths = [5, 11, 8];
      for (const [i, length] of lengths.entries()) {
        const alone = sentences(...lengths.slice(0, i + 1));
        const source = alone.tensors.source!;
        const from = i * source.shape[1]!;
        const data = (source.data as Int32Array).slice(from, from + length);
        const batch = collateText([{ tensors: { source: { data, shape: [length] } }, id: 0 }]);
        const one = features(batch);
        for (let d = 0; d < 16; d++) expect(together[i * 16 + d]).toBeCloseTo(one[d]!, 5);
      }
      model.dispose();
    },
  );

  it('gives numbers for a sample of padding only', () => {
    const model = build();
    const batch = sentences(6, 6);
    const source = batch.tensors.source!.data as Int32Array;
    source.fill(PAD, 6);
    const padding = { data: Uint8Array.from(source, (id) => (id === PAD ? 1 : 0)), shape: [2, 6] };
    const padded = { ...batch, tensors: { ...batch.tensors, padding } };
    const [mean] = model.embed(padded, { modality: 'text', pool: 'mean' });
    expect([...mean!.data.slice(16)]).toEqual(new Array(16).fill(0));
    expect(Number.isFinite(losses(model, padded).loss)).toBe(true);
    model.dispose();
  });

  it('gives gradients to the rows that were seen, none to those of padding', () => {
    const model = build();
    const batch = sentences(10, 5);
    // Every token is visible to one of the two copies.
    losses(
      model,
      batch,
      Uint8Array.from({ length: 40 }, (_, i) => (i + Math.floor(i / 10)) % 2),
    );
    const seen = new Set(batch.tensors.source!.data);
    const grads = model.arena.named('grads');
    const norms = (name: string) => {
      const gradient = grads.get(`modality_encoders.TEXT.local_encoder.${name}.weight`)!;
      const values = raw.toArray(gradient) as Float32Array;
      return Array.from({ length: values.length / 16 }, (_, row) =>
        Math.max(...Array.from(values.slice(row * 16, row * 16 + 16), Math.abs)),
      );
    };
    for (const [id, norm] of norms('embed_tokens').entries()) {
      expect(norm > 0).toBe(seen.has(id) && id !== PAD);
    }
    // Ten tokens have the numbers 2 to 11.
    const positions = norms('embed_positions');
    expect(positions.map((norm) => norm > 0)).toEqual(positions.map((_, i) => i >= 2 && i <= 11));
    for (const view of grads.values()) view.dispose();
    model.dispose();
  });

  it.each([
    ['too long', sentences(13), /a sample of 13 tokens is longer than .*max_source_positions \(12\)/],
    [
      'of another vocabulary',
      { ...sentences(4), tensors: { source: { data: Int32Array.of(0, 30, 2), shape: [1, 3] } } },
      /token 30 is not in the model's vocabulary of 30/,
    ],
    ['without tokens', { ...sentences(4), tensors: {} }, /a batch of text has token ids in `source`/],
    [
      'with another padding',
      {
        ...sentences(4),
        tensors: { ...sentences(4).tensors, padding: { data: new Uint8Array(3), shape: [3] } },
      },
      /`padding` of a batch of text must be u8/,
    ],
  ])('refuses a batch that is %s', (_, batch, message) => {
    const model = build();
    expect(() => model.embed(batch, { modality: 'text', pool: 'mean' })).toThrow(message);
    model.dispose();
  });
});

describe('positions', () => {
  it('are counted from 2, padding left out', () => {
    expect([...positionNumbers(Int32Array.of(0, 5, 2, 1, 1, 0, 7, 8, 9, 2), 5)]).toEqual([
      2, 3, 4, 1, 1, 2, 3, 4, 5, 6,
    ]);
  });

  it('are sines, then cosines, of falling frequencies', () => {
    const table = sinusoids(Int32Array.of(PAD, 2, 3), 5);
    expect([...table.slice(0, 5)]).toEqual([0, 0, 0, 0, 0]);
    const [a, b, c, d, e] = table.slice(5);
    expect([a, c, e]).toEqual([Math.fround(Math.sin(2)), Math.fround(Math.cos(2)), 0]);
    expect(b).toBeCloseTo(Math.sin(2e-4), 9);
    expect(d).toBeCloseTo(Math.cos(2e-4), 6);
  });
});
