import { type Batch, Data2Vec, modelConfigSchema, Philox, resolveConfig, type z } from '@d2v/core';
import { describe, expect, it } from 'vitest';
import type { audioConfigSchema } from './config.js';
import audio from './index.js';

const WIDTH = 16;
const SPEC = '[(8, 10, 5)] + [(8, 3, 2)] * 2';

function model(own: Partial<z.input<typeof audioConfigSchema>> = {}): Data2Vec {
  const config = modelConfigSchema.parse({
    depth: 2,
    embed_dim: WIDTH,
    num_heads: 2,
    clone_batch: 2,
    average_top_k_layers: 2,
    instance_norm_target_layer: true,
    ema_encoder_only: false,
    ema_decay: 0.99,
    ema_end_decay: 0.99,
    encoder_dropout: 0,
    post_mlp_drop: 0,
    attention_dropout: 0,
    modalities: {
      audio: {
        feature_encoder_spec: SPEC,
        conv_pos_groups: 4,
        conv_pos_width: 9,
        conv_pos_depth: 3,
        prenet_depth: 0,
        use_alibi_encoder: true,
        learned_alibi_scale: true,
        learned_alibi_scale_per_head: true,
        decoder: {
          decoder_dim: 16,
          decoder_groups: 4,
          decoder_kernel: 3,
          decoder_layers: 1,
          input_dropout: 0,
        },
        ...own,
      },
    },
  });
  return Data2Vec.create({ config, modalities: [audio], seed: 3 });
}

/** Clips of noise, each its own whatever comes after it. */
function batch(
  lengths: number[],
  fill: (index: number, rng: Philox) => number = (_, rng) => rng.normal(),
): Batch {
  const samples = lengths.map((length, id) => {
    const rng = new Philox(9).fork(id);
    const data = Float32Array.from({ length }, (_, i) => fill(i, rng));
    return { tensors: { source: { data, shape: [length] } }, id };
  });
  return audio.collate(samples, { enable_padding: false } as Parameters<typeof audio.collate>[1]);
}

const features = (m: Data2Vec, input: Batch) => m.embed(input, { modality: 'audio', pool: 'none' })[0]!;
const distance = (a: Float32Array, b: Float32Array) =>
  Math.max(...a.map((value, i) => Math.abs(value - b[i]!)));

describe('padding', () => {
  const alone = 700;
  const rows = (m: Data2Vec) => {
    const [one, two] = [features(m, batch([alone])), features(m, batch([alone, 2000]))];
    return [one.data, two.data.subarray(0, one.data.length)] as const;
  };

  it.each(['layer_norm', 'default'] as const)(
    'does not change features with blank_padding (%s)',
    (extractor_mode) => {
      const m = model({ blank_padding: true, extractor_mode });
      const [one, two] = rows(m);
      expect(distance(one, two)).toBeLessThan(1e-4);
      m.dispose();
    },
  );

  it("does with the original's definition, by the positional convolutions", () => {
    const m = model({ blank_padding: false });
    const [one, two] = rows(m);
    expect(distance(one, two)).toBeGreaterThan(1e-2);
    m.dispose();
  });

  it('makes no difference between the two without it', () => {
    const [ours, theirs] = [model({ blank_padding: true }), model({ blank_padding: false })];
    const input = batch([900, 900]);
    expect(features(ours, input).data).toEqual(features(theirs, input).data);
    for (const m of [ours, theirs]) m.dispose();
  });

  it('is marked token by token, at least one of each clip being none', () => {
    const m = model();
    const { padding, tokens } = m.student.encoder('AUDIO').layout(batch([12, 300, 1000]));
    expect(tokens).toBe(49);
    const real = [0, 1, 2].map((row) =>
      padding!.subarray(row * tokens, (row + 1) * tokens).reduce((sum, flag) => sum + 1 - flag, 0),
    );
    expect(real).toEqual([1, 14, 49]);
    m.dispose();
  });

  it('gets no gradient', () => {
    const m = model({ blank_padding: true });
    const plan = m.plan(batch([600, 2000]), { modality: 'audio', update: 0, firstSample: 0 });
    const result = m.forward(plan, { totalSampleSize: plan.sampleSize });
    result.backward();
    result.dispose();
    expect(m.arena.gradNorm()).toBeLessThan(1e3);
    m.dispose();
  });
});

describe('unusual clips', () => {
  it('shorter than the receptive field give one token, alone and in a batch', () => {
    const m = model({ blank_padding: true });
    const one = features(m, batch([3]));
    expect(one.shape).toEqual([1, 1, WIDTH]);
    const two = features(m, batch([3, 500]));
    expect(distance(one.data, two.data.subarray(0, WIDTH))).toBeLessThan(1e-4);
    m.dispose();
  });

  it('of silence, of clipped sound and of huge values give finite features', () => {
    const m = model();
    for (const fill of [() => 0, (i: number) => (i % 20 < 10 ? 1 : -1), (i: number) => 1e6 * Math.sin(i)]) {
      expect(features(m, batch([800], fill)).data.every(Number.isFinite)).toBe(true);
    }
    m.dispose();
  });

  it('of one token cannot be trained on, which is said', () => {
    const m = model();
    const plan = () => m.plan(batch([20, 900]), options);
    const options = { modality: 'audio', update: 0, firstSample: 0 };
    expect(plan).toThrow(/one token.*min_sample_size to 60 or more/);
    m.dispose();
  });

  it('of two tokens can', () => {
    const m = model();
    const { mask } = m.plan(batch([60]), { modality: 'audio', update: 0, firstSample: 0 });
    expect([mask.keptPerRow, mask.maskedPerRow]).toEqual([1, 1]);
    m.dispose();
  });
});

describe('state', () => {
  const names = (own: Parameters<typeof model>[0]) => {
    const m = model(own);
    const found = [...m.student.namedParameters()].map(([name]) =>
      name.replace('modality_encoders.AUDIO.', ''),
    );
    m.dispose();
    return found;
  };

  it("has the original's names", () => {
    const found = names({ conv_pos_pre_ln: true });
    for (const name of [
      'local_encoder.conv_layers.0.0.weight',
      'local_encoder.conv_layers.2.2.1.bias',
      'project_features.1.weight',
      'project_features.2.bias',
      'relative_positional_encoder.0.weight',
      'relative_positional_encoder.1.3.0.bias',
    ]) {
      expect(found).toContain(name);
    }
    expect(names({})).toContain('relative_positional_encoder.3.0.weight');
  });

  it('has one norm in the mode "default", over time', () => {
    const norms = names({ extractor_mode: 'default' }).filter((name) => /conv_layers\.\d\.2/.test(name));
    expect(norms).toEqual(['local_encoder.conv_layers.0.2.weight', 'local_encoder.conv_layers.0.2.bias']);
  });
});

it('wrong inputs and settings are explained', () => {
  const m = model();
  const image = {
    size: 1,
    tensors: { source: { data: new Float32Array(12), shape: [1, 3, 2, 2] } },
    ids: [0],
  };
  expect(() => features(m, image)).toThrow(/takes waveforms \[clips, samples\].*\[1, 3, 2, 2\]/);
  m.dispose();
  expect(() => model({ conv_pos_groups: 5 })).toThrow(/conv_pos_groups is 5.*16/);
  expect(() => model({ feature_encoder_spec: '[(8, 10' })).toThrow(/feature_encoder_spec/);
  const set = ['model.modalities.audio.feature_encoder_spec=__import__("os")'];
  expect(() => resolveConfig({ modality: audio, set })).toThrow(
    /^--set model\.modalities\.audio\.feature_encoder_spec: .*expected a list, .* at character 1/,
  );
});
