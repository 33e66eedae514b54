import { describe, expect, it } from 'vitest';
import { sequenceBatch, sequenceModel } from './fake-sequence.js';

describe('features', () => {
  it('do not depend on padding or on the rest of the batch', () => {
    const modality = { use_alibi_encoder: true, num_extra_tokens: 1, relative: false };
    const model = sequenceModel({}, modality);
    const both = model.embed(sequenceBatch([7, 12]), { modality: 'sequence', pool: 'mean' })[0]!;
    const alone = model.embed(sequenceBatch([7]), { modality: 'sequence', pool: 'mean' })[0]!;
    expect(both.shape).toEqual([2, 16]);
    for (let d = 0; d < 16; d++) expect(both.data[d]).toBeCloseTo(alone.data[d]!, 5);
    model.dispose();
  });

  it('come from any layer, prenet blocks counted first', () => {
    const model = sequenceModel({}, { num_extra_tokens: 1 });
    const batch = sequenceBatch([9, 9]);
    expect(model.layerCount('sequence')).toBe(3);
    const all = model.embed(batch, { modality: 'sequence', pool: 'none', layer: 'all' });
    expect(all.map((l) => l.shape)).toEqual(Array(3).fill([2, 9, 16]));
    for (const layer of [1, 2, 3]) {
      const [one] = model.embed(batch, { modality: 'sequence', pool: 'none', layer });
      expect(one).toEqual(all[layer - 1]);
    }
    const [last] = model.embed(batch, { modality: 'sequence', pool: 'none' });
    expect(last).toEqual(all[2]);
    const [input] = model.embed(batch, { modality: 'sequence', pool: 'none', layer: 0, extraTokens: true });
    expect(input!.shape).toEqual([2, 10, 16]);
    const [ffn] = model.embed(batch, { modality: 'sequence', pool: 'none', layer: 3, kind: 'ffn' });
    expect(ffn).not.toEqual(all[2]);
    expect(() => model.embed(batch, { modality: 'sequence', pool: 'none', layer: 4 })).toThrow(
      /choose 0 to 3/,
    );
    model.dispose();
  });

  it('of a pre-norm model end with the final norm', () => {
    const model = sequenceModel({ layer_norm_first: true });
    const batch = sequenceBatch([9]);
    const [last] = model.embed(batch, { modality: 'sequence', pool: 'none' });
    const [block] = model.embed(batch, { modality: 'sequence', pool: 'none', layer: 3 });
    expect(last).not.toEqual(block);
    const mean = last!.data.subarray(0, 16).reduce((a, b) => a + b, 0);
    expect(Math.abs(mean)).toBeLessThan(1e-4);
    model.dispose();
  });

  it('are pooled over tokens, or are the class token', () => {
    const model = sequenceModel({}, { num_extra_tokens: 2 });
    const batch = sequenceBatch([9]);
    const [tokens] = model.embed(batch, { modality: 'sequence', pool: 'none', extraTokens: true });
    const [mean] = model.embed(batch, { modality: 'sequence', pool: 'mean' });
    const [cls] = model.embed(batch, { modality: 'sequence', pool: 'cls' });
    for (let d = 0; d < 16; d++) {
      let sum = 0;
      for (let t = 2; t < 11; t++) sum += tokens!.data[t * 16 + d]! / 9;
      expect(mean!.data[d]).toBeCloseTo(sum, 5);
      expect(cls!.data[d]).toBe(tokens!.data[16 + d]);
    }
    const plain = sequenceModel();
    expect(() => plain.embed(batch, { modality: 'sequence', pool: 'cls' })).toThrow(/num_extra_tokens/);
    for (const m of [model, plain]) m.dispose();
  });

  it('of student and teacher differ once the student has moved', () => {
    const model = sequenceModel();
    const batch = sequenceBatch([9]);
    const get = (network: 'student' | 'teacher') =>
      model.embed(batch, { modality: 'sequence', pool: 'mean', network })[0]!;
    expect(get('teacher')).toEqual(get('student'));
    const weight = model.stateDict().get('blocks.0.attn.qkv.weight')!;
    const old = get('teacher');
    model.loadState(
      new Map([
        ['blocks.0.attn.qkv.weight', { data: new Float32Array(weight.size), shape: weight.shape }],
        ['_ema.x', { data: new Float32Array(1), shape: [1] }],
      ]),
      { strict: false },
    );
    expect(get('student')).not.toEqual(old);
    expect(get('teacher')).toEqual(old);
    expect(() => model.embed(batch, { modality: 'text', pool: 'mean' })).toThrow(
      /no modality "text"; it has sequence/,
    );
    model.dispose();
  });
});
