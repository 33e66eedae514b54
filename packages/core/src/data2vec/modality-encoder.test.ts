import * as k from '@d2v/cuda-kernels';
import { describe, expect, it } from 'vitest';
import type { Tensor } from '../tensor/index.js';
import { DeviceMask } from './device-mask.js';
import { sequenceBatch, sequenceModel } from './fake-sequence.js';
import { makeMaskInfo } from './masking/index.js';
import type { Data2Vec } from './model.js';
import { Pass } from './pass.js';
import { visibleTokens } from './visible-tokens.js';

const numbers = (t: Tensor) => k.toArray(t.raw) as Float32Array;
const newPass = () => new Pass({ seed: 1, update: 0, training: true, device: 'cpu', dtype: 'f32' });
const at = (data: ArrayLike<number>, width: number, row: number) =>
  Array.from({ length: width }, (_, i) => data[row * width + i]!);

/** The first sample of a batch, encoded; the mask hides tokens 1, 3 and 4 of 6. */
function encode(model: Data2Vec, removeMasked: boolean) {
  const pass = newPass();
  const encoder = model.student.encoder('SEQUENCE');
  const batch = sequenceBatch([6]);
  const mask = new DeviceMask(makeMaskInfo(Uint8Array.from([0, 1, 0, 1, 1, 0]), 1, 6), 1, pass);
  const local = encoder.localFeatures(batch, pass);
  const { x } = encoder.contextualize(local, encoder.layout(batch), mask, pass, { removeMasked });
  return { x, local, pass };
}

describe('ModalityEncoder', () => {
  it('removes masked tokens, or blanks them in place', () => {
    const model = sequenceModel({}, { prenet_depth: 0, num_extra_tokens: 1 });
    expect(encode(model, true).x.shape).toEqual([1, 4, 16]);
    expect(encode(model, false).x.shape).toEqual([1, 7, 16]);
    model.dispose();
  });

  const blanked = (config: object, tokens = 6, mask = [0, 1, 0, 1, 1, 0]) => {
    const model = sequenceModel({}, { relative: false, ...config });
    const pass = newPass();
    const encoder = model.student.encoder('SEQUENCE');
    const batch = sequenceBatch([tokens]);
    const x = encoder.localFeatures(batch, pass);
    const device = new DeviceMask(makeMaskInfo(Uint8Array.from(mask), 1, tokens), 1, pass);
    const parts = { relative: null, extra: null, config: encoder.config, layout: encoder.layout(batch) };
    const y = visibleTokens(x, device, false, parts, pass);
    return { x: numbers(x), y: numbers(y) };
  };

  it('blanks with zeros or with noise', () => {
    const zeros = blanked({});
    const noise = blanked({ encoder_zero_mask: false, mask_noise_std: 0.01 });
    for (const t of [0, 2, 5]) {
      expect(at(zeros.y, 16, t)).toEqual(at(zeros.x, 16, t));
      expect(at(noise.y, 16, t)).toEqual(at(noise.x, 16, t));
    }
    for (const t of [1, 3, 4]) {
      expect(at(zeros.y, 16, t)).toEqual(Array(16).fill(0));
      const deviation = Math.sqrt(at(noise.y, 16, t).reduce((a, v) => a + v * v, 0) / 16);
      expect(deviation).toBeGreaterThan(0.003);
      expect(deviation).toBeLessThan(0.03);
    }
  });

  it('masks spans of channels at all tokens of a row', () => {
    const { x, y } = blanked({ mask_channel_prob: 0.5, mask_channel_length: 4 });
    const gone = at(y, 16, 0).map((v, i) => v === 0 && x[i] !== 0);
    const count = gone.filter(Boolean).length;
    expect(count).toBeGreaterThan(3);
    expect(count).toBeLessThan(16);
    for (const t of [2, 5])
      at(y, 16, t).forEach((v, d) => {
        expect(v === 0).toBe(gone[d]);
      });
  });

  it('hides padding from attention, in pretraining too', () => {
    const model = sequenceModel(
      { clone_batch: 2 },
      { relative: false, mask_length: 1, mask_prob: 0.4, num_extra_tokens: 1 },
    );
    const batch = sequenceBatch([5, 10]);
    const loss = (value: number) => {
      // What lies in the padding is not seen by the student; the teacher's targets there are those of masked padding.
      const { data, shape } = batch.tensors.source!;
      (data as Float32Array).fill(value, 5 * 6, 10 * 6);
      const pass = newPass();
      const encoder = model.student.encoder('SEQUENCE');
      const plan = model.plan(
        { ...batch, tensors: { ...batch.tensors, source: { data, shape } } },
        { modality: 'sequence', update: 0, firstSample: 0 },
      );
      const mask = new DeviceMask(plan.mask, 2, pass);
      const { x, attention } = encoder.contextualize(
        encoder.localFeatures(plan.batch, pass),
        plan.layout,
        mask,
        pass,
      );
      const y = numbers(model.student.encode(x, attention, 1, pass));
      const real = plan.mask.keep.slice(0, plan.mask.keptPerRow).filter((t) => t < 5).length;
      return y.slice(0, (1 + real) * 16);
    };
    expect(loss(50)).toEqual(loss(-3));
    model.dispose();
  });

  it('scales the gradient of the local encoder', () => {
    const gradient = (factor: number) => {
      const model = sequenceModel({}, { local_grad_mult: factor });
      const plan = model.plan(sequenceBatch([8]), { modality: 'sequence', update: 0, firstSample: 0 });
      model.forward(plan, { totalSampleSize: plan.sampleSize }).backward();
      const grads = model.arena.named('grads').get('modality_encoders.SEQUENCE.local_encoder.proj.weight')!;
      return k.toArray(grads) as Float32Array;
    };
    const full = gradient(1);
    const half = gradient(0.5);
    for (const i of [0, 10, 50]) expect(half[i]).toBeCloseTo(0.5 * full[i]!, 6);
  });
});

describe('a learned bias matrix', () => {
  const config = { use_alibi_encoder: true, num_extra_tokens: 1, relative: false };
  const learned = { ...config, learned_alibi: true, alibi_max_pos: 12 };

  it.each([{}, { num_alibi_heads: 1 }, { learned_alibi_scale: true, learned_alibi_scale_per_head: true }])(
    'starts as ALiBi (%o)',
    (more) => {
      const run = (modality: object) => {
        const model = sequenceModel({}, modality);
        const plan = model.plan(sequenceBatch([10, 10]), { modality: 'sequence', update: 0, firstSample: 0 });
        const result = model.forward(plan, { totalSampleSize: plan.sampleSize });
        result.backward();
        const grads = model.arena.named('grads');
        const scale = grads.get('modality_encoders.SEQUENCE.alibi_scale');
        const matrix = grads.get('modality_encoders.SEQUENCE.alibi_bias');
        return {
          loss: result.loss,
          scale: scale && [...(k.toArray(scale) as Float32Array)],
          matrix: matrix && Math.sqrt(k.item(k.sumSquares(matrix))),
        };
      };
      const plain = run({ ...config, ...more });
      const own = run({ ...learned, ...more });
      expect(own.loss).toBeCloseTo(plain.loss, 3);
      expect(own.matrix).toBeGreaterThan(0);
      for (const [i, g] of (plain.scale ?? []).entries()) expect(own.scale![i]).toBeCloseTo(g, 5);
    },
  );

  it('says when it is too small or missing', () => {
    expect(() => sequenceModel({}, { ...learned, alibi_max_pos: null })).toThrow(/alibi_max_pos/);
    expect(() => sequenceModel({}, { ...config, num_alibi_heads: 4 })).toThrow(/num_alibi_heads is 4/);
    const model = sequenceModel({}, learned);
    expect(() => model.embed(sequenceBatch([13]), { modality: 'sequence', pool: 'mean' })).toThrow(
      /raise it/,
    );
    model.dispose();
  });
});
