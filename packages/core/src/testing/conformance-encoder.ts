/** The part of the conformance suite that looks at the encoder: shapes, masks, gradients, determinism, state. */
import { describe, expect, it } from 'vitest';
import type { Data2Vec } from '../data2vec/index.js';
import { parseSafetensors } from '../interchange/safetensors.js';
import { encodeSafetensors } from '../interchange/safetensors-writer.js';
import type { Batch, Modality } from '../modality/contract.js';
import { raw } from '../tensor/index.js';
import { checkGradients, localObjective, lossObjective } from './conformance-gradients.js';
import type { ConformanceData, Setup } from './conformance-setup.js';

type Choice = Partial<Parameters<Data2Vec['embed']>[1]>;

function embed(
  setup: Setup,
  model: Data2Vec,
  batch: Batch,
  choice: Choice = {},
): { data: Float32Array; shape: number[] } {
  return model.embed(batch, { modality: setup.modality.name, pool: 'mean', ...choice })[0]!;
}

export function describeEncoder(modality: Modality, get: () => Setup, sample: ConformanceData): void {
  describe('encoder', () => {
    it('gives finite features of the announced shape, from student and teacher', () => {
      const setup = get();
      const batch = setup.batch();
      setup.withModel((model) => {
        const { tokens, samples, padding } = model.student.encoder(setup.key).layout(batch);
        expect(samples).toBe(batch.size);
        if (padding) expect(padding).toHaveLength(samples * tokens);
        for (const network of ['student', 'teacher'] as const) {
          const { data, shape } = embed(setup, model, batch, { network, pool: 'none' });
          expect(shape).toEqual([batch.size, tokens, setup.config.model.embed_dim]);
          expect(data.every(Number.isFinite)).toBe(true);
        }
        const student = embed(setup, model, batch, { network: 'student' });
        const teacher = embed(setup, model, batch, { network: 'teacher' });
        expectNear(teacher.data, student.data, 1e-5, 'a new teacher is a copy of the student');
      });
    });

    it('gives the same features alone and in a batch', () => {
      const setup = get();
      setup.withModel((model) => {
        const together = embed(setup, model, setup.batch());
        const [, dim] = together.shape as [number, number];
        setup.samples.forEach((one, i) => {
          const alone = embed(setup, model, setup.batch([one]));
          expectNear(alone.data, together.data.subarray(i * dim, (i + 1) * dim), 1e-3, `sample ${i}`);
        });
      });
    });

    it('tells samples apart', () => {
      const setup = get();
      setup.withModel((model) => {
        const { data, shape } = embed(setup, model, setup.batch());
        const [rows, dim] = shape as [number, number];
        const distinct = new Set(
          Array.from({ length: rows }, (_, i) => data.slice(i * dim, (i + 1) * dim).join()),
        );
        expect(distinct.size).toBeGreaterThan(1);
      });
    });

    it('masks equally many tokens per row, none of them padding, the same for the same place', () => {
      const setup = get();
      const batch = setup.batch();
      setup.withModel((model) => {
        const plan = (update: number, firstSample = 0) =>
          model.plan(batch, { modality: modality.name, update, firstSample });
        const { mask, layout, sampleSize } = plan(0);
        expect(mask.rows).toBe(batch.size * setup.config.model.clone_batch);
        expect(mask.tokens).toBe(layout.tokens);
        expect(sampleSize).toBe(mask.rows * mask.maskedPerRow);
        expect(mask.maskedPerRow).toBeGreaterThan(0);
        expect(mask.maskedPerRow).toBeLessThan(layout.tokens);
        for (let row = 0; row < mask.rows; row++) {
          const flags = mask.mask.subarray(row * mask.tokens, (row + 1) * mask.tokens);
          expect(flags.reduce((a, b) => a + b, 0)).toBe(mask.maskedPerRow);
        }
        expect(plan(0).mask.mask).toEqual(mask.mask);
        expect(plan(1).mask.mask).not.toEqual(mask.mask);
        const half = setup.batch(setup.samples.slice(batch.size / 2));
        const second = model.plan(half, { modality: modality.name, update: 0, firstSample: batch.size / 2 });
        if (second.mask.tokens === mask.tokens && !layout.padding) {
          const rows = second.mask.rows * mask.tokens;
          expect(second.mask.mask, 'micro-batches').toEqual(mask.mask.slice(-rows));
        }
      });
    });

    it('has right gradients', { timeout: 120_000 }, () => {
      const setup = get();
      setup.withModel((model) => {
        const batch = setup.batch(setup.samples.slice(0, 2));
        const names = [...model.arena.entries.keys()];
        const own = names.filter((name) => /\.(local_encoder|project_features)\./.test(name));
        const local = checkGradients(model, localObjective(model, setup.key, batch), own);
        expect(local.wrong, 'of the local features').toEqual([]);
        const exempt = sample.withoutGradient ?? [];
        const silent = local.without.filter((name) => !exempt.some((part) => name.includes(part)));
        expect(silent, 'parameters that local features do not depend on').toEqual([]);
        // What the teacher shares with the student moves the targets, too: no difference of losses shows its gradient.
        const { entries } = model.arena;
        const loss = checkGradients(
          model,
          lossObjective(model, modality.name, batch),
          names.filter((name) => entries.get(name)!.averaged || name.includes('decoder')),
        );
        expect(loss.wrong, 'of the loss').toEqual([]);
      });
    });

    it('is deterministic', () => {
      const setup = get();
      const run = () =>
        setup.withModel((model) => {
          const plan = model.plan(setup.batch(), { modality: modality.name, update: 0, firstSample: 0 });
          const result = model.forward(plan, { totalSampleSize: plan.sampleSize });
          result.backward();
          result.dispose();
          return { loss: result.loss, norm: model.arena.gradNorm() };
        });
      expect(run()).toEqual(run());
    });

    it('saves and loads', () => {
      const setup = get();
      const batch = setup.batch();
      const [bytes, before] = setup.withModel((model) => {
        raw.scale_(model.arena.buffer('weights'), 1.25);
        const state = [...model.stateDict()];
        const entries = state.map(([name, t]) => ({
          name,
          dtype: t.dtype,
          shape: t.shape,
          bytes: raw.bytes(t),
        }));
        expect(state.some(([name]) => name.startsWith(`modality_encoders.${setup.key}.`))).toBe(true);
        return [encodeSafetensors(entries), embed(setup, model, batch)];
      });
      const file = parseSafetensors(bytes);
      const values = new Map(
        file.names.map((name) => [name, { data: file.readFloat32(name), shape: file.info(name).shape }]),
      );
      setup.withModel((model) => {
        expect(embed(setup, model, batch).data).not.toEqual(before.data);
        model.loadState(values);
        expect(embed(setup, model, batch).data).toEqual(before.data);
      });
    });

    it.runIf(modality.supports.preview)('draws a preview', async () => {
      const setup = get();
      const { data, shape } = setup.withModel((model) =>
        embed(setup, model, setup.batch(), { pool: 'none' }),
      );
      const [, tokens, dim] = shape as [number, number, number];
      const features = setup.samples.map((_one, i) => ({
        data: data.slice(i * tokens * dim, (i + 1) * tokens * dim),
        shape: [tokens, dim],
      }));
      const png = await modality.preview!({ samples: setup.samples, features, data: setup.config.data });
      expect([...png.subarray(0, 4)]).toEqual([0x89, 0x50, 0x4e, 0x47]);
    });
  });
}

/** Relative to the length of what is expected. */
function expectNear(got: Float32Array, wanted: Float32Array, tolerance: number, what: string): void {
  let difference = 0;
  let size = 0;
  for (let i = 0; i < wanted.length; i++) {
    difference += (got[i]! - wanted[i]!) ** 2;
    size += wanted[i]! ** 2;
  }
  expect(Math.sqrt(difference / size), what).toBeLessThan(tolerance);
}
