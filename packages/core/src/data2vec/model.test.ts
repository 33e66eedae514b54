import * as k from '@d2v/cuda-kernels';
import { describe, expect, it } from 'vitest';
import { Adam } from '../training/optimizer.js';
import { CollapseError } from './collapse.js';
import {
  sequenceBatch,
  sequenceConfig,
  sequenceModality,
  sequenceModel,
  sliceBatch,
} from './fake-sequence.js';
import { Data2Vec } from './model.js';

const values = (raw: k.RawTensor) => [...(k.toArray(raw) as Float32Array)];
const SEQUENCE = { modality: 'sequence', update: 0, firstSample: 0 };

/** Gradients of a batch, cut into micro-batches of the given sizes. */
function gradients(model: Data2Vec, sizes: number[], lengths = [12, 12, 12, 12]) {
  const batch = sequenceBatch(lengths);
  model.zeroGrad();
  let from = 0;
  const plans = sizes.map((size) => {
    const plan = model.plan(sliceBatch(batch, from, from + size), { ...SEQUENCE, firstSample: from });
    from += size;
    return plan;
  });
  const totalSampleSize = plans.reduce((n, plan) => n + plan.sampleSize, 0);
  let loss = 0;
  for (const [micro, plan] of plans.entries()) {
    const result = model.forward(plan, { totalSampleSize, micro });
    loss += result.loss;
    result.backward();
  }
  return { loss, grads: values(model.arena.buffer('grads')) };
}

function expectClose(a: number[], b: number[], tolerance: number): void {
  const norm = Math.hypot(...b);
  expect(Math.hypot(...a.map((v, i) => v - b[i]!))).toBeLessThan(tolerance * norm);
}

describe('an update', () => {
  it('is the same from one batch as from micro-batches', () => {
    const modality = { num_extra_tokens: 1, mask_length: 1 };
    const model = sequenceModel({ cls_loss: 0.1, layerdrop: 0.3 }, modality);
    const whole = gradients(model, [4]);
    for (const sizes of [
      [2, 2],
      [1, 3],
      [1, 1, 1, 1],
    ]) {
      const parts = gradients(model, sizes);
      expect(parts.loss).toBeCloseTo(whole.loss, 4);
      expectClose(parts.grads, whole.grads, 1e-5);
    }
    model.dispose();
  });

  it('repeats bit by bit, and changes with the seed, the update and the place of the samples', () => {
    const model = sequenceModel();
    const batch = sequenceBatch([10, 10]);
    const loss = (options: Partial<typeof SEQUENCE> = {}, m = model) => {
      const plan = m.plan(batch, { ...SEQUENCE, ...options });
      const result = m.forward(plan, { totalSampleSize: plan.sampleSize, training: false });
      const value = result.loss;
      result.dispose();
      return value;
    };
    const first = loss();
    expect(loss()).toBe(first);
    expect(loss({ update: 1 })).not.toBe(first);
    expect(loss({ firstSample: 2 })).not.toBe(first);
    const again = sequenceModel();
    expect(loss({}, again)).toBe(first);
    const other = sequenceModel({}, {}, { seed: 6 });
    expect(loss({}, other)).not.toBe(first);
    for (const m of [model, again, other]) m.dispose();
  });

  it('lowers the loss, and leaves no memory behind', () => {
    // A teacher that stands still: its targets do not gain variance while the student learns them.
    const model = sequenceModel({ ema_decay: 1, ema_end_decay: 1 });
    const adam = new Adam(model.arena, { betas: [0.9, 0.95] });
    const batch = sequenceBatch([16, 16, 16, 16]);
    const losses: number[] = [];
    let live = 0;
    for (let update = 0; update < 40; update++) {
      const plan = model.plan(batch, { ...SEQUENCE, update });
      const result = model.forward(plan, { totalSampleSize: plan.sampleSize });
      losses.push(result.loss / plan.sampleSize);
      result.backward();
      adam.step({ lr: 3e-3 });
      model.updateTeacher(update + 1);
      if (update === 3) live = k.memoryStats().liveBuffers;
    }
    expect(k.memoryStats().liveBuffers).toBeLessThanOrEqual(live);
    const mean = (part: number[]) => part.reduce((a, b) => a + b, 0) / part.length;
    expect(mean(losses.slice(-5))).toBeLessThan(0.8 * mean(losses.slice(0, 5)));
    expect(model.numUpdates).toBe(40);
    model.dispose();
  });

  it('can be differentiated once, and needs a teacher', () => {
    const model = sequenceModel();
    const plan = model.plan(sequenceBatch([8]), SEQUENCE);
    const result = model.forward(plan, { totalSampleSize: plan.sampleSize });
    result.backward();
    expect(() => result.backward()).toThrow(/once/);
    const inference = sequenceModel({}, {}, { pretraining: false });
    expect(() => inference.forward(plan, { totalSampleSize: 1 })).toThrow(/no teacher/);
    for (const m of [model, inference]) m.dispose();
  });
});

describe('bfloat16', () => {
  it('activations give about the same loss and gradients', () => {
    // A zero token would be a singular point of its layer norm.
    const token = { num_extra_tokens: 1, init_extra_token_zero: false };
    const modality = { ...token, use_alibi_encoder: true, learned_alibi_scale: true };
    const shared = { decoder_dim: 16, decoder_groups: 2, decoder_layers: 1, input_dropout: 0 };
    const exact = sequenceModel({ cls_loss: 0.1, shared_decoder: shared }, modality);
    const half = sequenceModel({ cls_loss: 0.1, shared_decoder: shared }, modality, { dtype: 'bf16' });
    const a = gradients(exact, [4]);
    const b = gradients(half, [4]);
    expect(Math.abs(b.loss / a.loss - 1)).toBeLessThan(0.02);
    expectClose(b.grads, a.grads, 0.05);
    const [feature] = half.embed(sequenceBatch([6]), { modality: 'sequence', pool: 'mean' });
    expect(feature!.data).toBeInstanceOf(Float32Array);
    for (const m of [exact, half]) m.dispose();
  });
});

describe('loss terms', () => {
  const terms = (model: Data2Vec) => {
    const plan = model.plan(sequenceBatch([10, 10]), SEQUENCE);
    const result = model.forward(plan, { totalSampleSize: plan.sampleSize });
    result.backward();
    model.dispose();
    return { losses: Object.keys(result.losses), metrics: Object.keys(result.metrics) };
  };

  it('have the names of the original', () => {
    expect(terms(sequenceModel()).losses).toEqual(['SEQUENCE_regression']);
    const shared = { decoder_dim: 16, decoder_groups: 2, decoder_layers: 1, input_dropout: 0 };
    const both = terms(sequenceModel({ shared_decoder: shared }));
    expect(both.losses).toEqual(['SEQUENCE_regression_0', 'SEQUENCE_regression_1']);
    expect(both.metrics).toEqual(['local_var', 'pred_var_0', 'pred_var_1', 'target_var', 'masked_pct']);
    expect(terms(sequenceModel({ shared_decoder: shared }, { decoder: null })).losses).toEqual([
      'SEQUENCE_regression',
    ]);
    const cls = sequenceModel({ cls_loss: 1, d2v_loss: 0 }, { num_extra_tokens: 2 });
    expect(terms(cls).losses).toEqual(['cls']);
  });

  it('that cannot be computed are refused with the remedy', () => {
    expect(() => terms(sequenceModel({ cls_loss: 1 }))).toThrow(/num_extra_tokens/);
    expect(() => terms(sequenceModel({ d2v_loss: 0 }))).toThrow(/all 0/);
    expect(() => terms(sequenceModel({}, { decoder: null }))).toThrow(/shared_decoder/);
    expect(() => sequenceModel({ recon_loss: 1 })).toThrow(/set it to 0/);
    expect(() => sequenceModel({ num_heads: 3 })).toThrow(/multiple of num_heads/);
    expect(() => terms(sequenceModel({}, { mask_prob: 0 }))).toThrow(/mask_prob is 0/);
  });
});

describe('the teacher', () => {
  it('starts as a copy and follows with the decay', () => {
    const model = sequenceModel();
    const weights = model.arena.buffer('weights').view(0, [model.arena.averagedLength]);
    expect(values(model.arena.buffer('teacher'))).toEqual(values(weights));
    const before = values(weights);
    k.scale_(weights, 2);
    expect(model.updateTeacher(1)).toBe(0.9);
    const after = values(model.arena.buffer('teacher'));
    for (const i of [0, 50, 200]) expect(after[i]).toBeCloseTo(1.1 * before[i]!, 5);
    model.dispose();
  });

  it('is left alone at decay 1', () => {
    const model = sequenceModel({ ema_decay: 1, ema_end_decay: 1 });
    const before = values(model.arena.buffer('teacher'));
    k.scale_(model.arena.buffer('weights'), 2);
    model.updateTeacher(1);
    expect(values(model.arena.buffer('teacher'))).toEqual(before);
    model.dispose();
  });

  it('averages what the configuration says and shares the rest with the student', () => {
    const has = (model: Data2Vec, name: string) =>
      model.stateDict().has(`_ema.modality_encoders.SEQUENCE.${name}`);
    const own = sequenceModel({}, { ema_local_encoder: true });
    expect(has(own, 'local_encoder.proj.weight')).toBe(true);
    expect(has(own, 'decoder.proj.weight')).toBe(false);
    const shared = sequenceModel();
    expect(has(shared, 'local_encoder.proj.weight')).toBe(false);
    expect(has(shared, 'context_encoder.norm.weight')).toBe(true);
    const blocks = sequenceModel({ ema_encoder_only: true });
    expect(
      [...blocks.stateDict().keys()]
        .filter((n) => n.startsWith('_ema.'))
        .every((n) => n.startsWith('_ema.blocks.')),
    ).toBe(true);
    for (const m of [own, shared, blocks]) m.dispose();
  });
});

describe('state', () => {
  it('makes the round trip, teacher included', () => {
    const model = sequenceModel();
    k.scale_(model.arena.buffer('teacher'), 0.5);
    const state = new Map(
      [...model.stateDict()].map(([name, raw]) => [
        name,
        { data: Float32Array.from(values(raw)), shape: raw.shape },
      ]),
    );
    const other = sequenceModel({}, {}, { seed: 9 });
    expect(other.loadState(state)).toEqual({ missing: [], unexpected: [] });
    expect(values(other.arena.buffer('weights'))).toEqual(values(model.arena.buffer('weights')));
    expect(values(other.arena.buffer('teacher'))).toEqual(values(model.arena.buffer('teacher')));

    const inference = sequenceModel({}, {}, { pretraining: false });
    const report = inference.loadState(state);
    expect(report.missing).toEqual([]);
    expect(report.unexpected.every((n) => n.startsWith('_ema.') || n.includes('.decoder.'))).toBe(true);

    state.delete('blocks.0.norm1.weight');
    expect(() => other.loadState(state)).toThrow(/1 tensors are missing \(blocks.0.norm1.weight\)/);
    state.set('something', { data: new Float32Array(1), shape: [1] });
    expect(other.loadState(state, { strict: false })).toEqual({
      missing: ['blocks.0.norm1.weight'],
      unexpected: ['something'],
    });
    for (const m of [model, other, inference]) m.dispose();
  });

  it('without a teacher makes it a copy of the student', () => {
    const model = sequenceModel();
    const student = new Map([...sequenceModel({}, {}, { seed: 8 }).student.stateDict()]);
    model.loadState(student);
    const weights = model.arena.buffer('weights').view(0, [model.arena.averagedLength]);
    expect(values(model.arena.buffer('teacher'))).toEqual(values(weights));
    model.dispose();
  });
});

describe('options', () => {
  it('decide on weight decay and groups', () => {
    const entries = (model: Data2Vec) => [...model.arena.entries.values()];
    const marked = entries(sequenceModel({ decoder_group: true }));
    expect(marked.filter((e) => e.group === 'decoder').every((e) => e.name.includes('decoder'))).toBe(true);
    expect(marked.some((e) => e.group === 'decoder')).toBe(true);
    expect(marked.find((e) => e.name === 'blocks.0.mlp.fc1.bias')?.decay).toBe(false);
    const all = entries(
      sequenceModel({}, {}, { decayAll: true, group: (n) => (n.startsWith('blocks') ? 'b' : undefined) }),
    );
    expect(all.every((e) => e.decay)).toBe(true);
    expect(all.find((e) => e.name.startsWith('blocks'))?.group).toBe('b');
  });

  it('can freeze the local encoder', () => {
    const frozen = sequenceModel({}, { local_grad_mult: 0 });
    expect(frozen.arena.entries.has('modality_encoders.SEQUENCE.local_encoder.proj.weight')).toBe(false);
    gradients(frozen, [4]);
    frozen.dispose();
  });

  it('zero the first extra token', () => {
    const model = Data2Vec.create({
      config: sequenceConfig({}, { num_extra_tokens: 2 }),
      modalities: [sequenceModality],
    });
    const tokens = values(model.stateDict().get('modality_encoders.SEQUENCE.extra_tokens')!);
    expect(tokens.slice(0, 16).every((v) => v === 0)).toBe(true);
    expect(tokens.slice(16).every((v) => v !== 0)).toBe(true);
    model.dispose();
  });
});

it('notices collapse, but not in the first 5000 updates', () => {
  const model = sequenceModel();
  model.numUpdates = 5000;
  model.checkCollapse({ target_var: 0, pred_var: 0 });
  model.numUpdates = 5001;
  model.checkCollapse({ target_var: 0.2, pred_var: 0.02, local_var: 0 });
  expect(() => model.checkCollapse({ target_var: 0.05 })).toThrow(CollapseError);
  expect(() => model.checkCollapse({ pred_var_1: 0.001 })).toThrow(/min_pred_var/);
  model.dispose();
});
