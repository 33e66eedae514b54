/**
 * The conformance suite: what core relies on in a modality, as tests for the plugin's own test run.
 *
 * ```ts
 * import { describeModality } from '@d2v/core/testing';
 * import modality from './index.js';
 * describeModality(modality, { data: { path: 'test/data' } });
 * ```
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { configToYaml, parseResolved, resolveConfig, runConfigSchema, yamlLayer } from '../config/index.js';
import { D2vError } from '../errors.js';
import { dataCacheDir } from '../modality/cache-dir.js';
import { defineModality, type HostTensor, MODALITY_API, type Modality } from '../modality/contract.js';
import { importModality } from '../modality/registry.js';
import { Philox } from '../random.js';
import { loadModel, readMetrics, train } from '../training/index.js';
import { describeEncoder } from './conformance-encoder.js';
import { type ConformanceData, open, Setup } from './conformance-setup.js';

/**
 * Declares the suite; call it at the top of a test file. It needs no network if the sample data needs none.
 * @param sample data to test with, and how to keep the model small
 */
export function describeModality(modality: Modality, sample: ConformanceData): void {
  describe(`modality ${modality.name} conforms to the plugin contract`, () => {
    let setup: Setup;
    beforeAll(async () => {
      setup = await Setup.create(modality, sample);
    }, 120_000);
    afterAll(async () => {
      await setup?.source.close?.();
      if (setup) await rm(setup.folder, { recursive: true, force: true });
    });
    describeDefinition(modality);
    describeData(modality, () => setup, sample);
    describeEncoder(modality, () => setup, sample);
    describeTraining(modality, () => setup);
  });
}

function describeDefinition(modality: Modality): void {
  describe('definition', () => {
    it('is complete and made for this contract', () => {
      expect(defineModality(modality)).toBe(modality);
      expect(modality.api).toBe(MODALITY_API);
    });

    it.each(Object.keys(modality.presets))(
      'preset %s resolves, prints with a comment per key and reads back',
      (preset) => {
        const config = resolveConfig({ modality, preset });
        const text = configToYaml(runConfigSchema(modality), config);
        expect(parseResolved(modality, yamlLayer(text, preset))).toEqual(config);
        const bare = text
          .split('\n')
          .filter((line) => /^\s*[a-z_0-9]+: \S/.test(line) && !line.includes(' # '));
        expect(bare, 'keys without a description').toEqual([]);
        expect(modality.presets[preset]!.description).not.toBe('');
      },
    );

    it('can be imported by loader threads, if it is built', async () => {
      if (!/\.m?js$/.test(modality.moduleUrl)) return;
      expect((await importModality(modality.moduleUrl)).name).toBe(modality.name);
    });
  });
}

function describeData(modality: Modality, get: () => Setup, sample: ConformanceData): void {
  const options = () => ({
    assets: get().source.assets?.(),
    cacheDir: dataCacheDir(get().config.data.cache_dir),
  });
  describe('data', () => {
    it('has samples in both parts, with names and consistent labels', async () => {
      const { config, source } = get();
      const valid = await open(modality, config, 'valid');
      for (const part of [source, valid]) {
        expect(part.length).toBeGreaterThan(0);
        expect(part.name).not.toBe('');
        expect(part.describe(0)).not.toBe('');
        const lengths = part.sizes?.();
        if (lengths) expect(lengths).toHaveLength(part.length);
        if (lengths) expect(modality.sizeUnit, 'lengths need a unit').toBeTypeOf('string');
        for (const length of lengths ?? []) expect(length).toBeGreaterThanOrEqual(0);
      }
      await valid.close?.();
      for (const { label = -1, id } of get().samples) {
        if (source.classes) expect(label).toBeLessThan(source.classes.length);
        if (source.label) expect(source.label(id)).toBe(label);
        if (modality.supports.labels) expect(label).toBeGreaterThanOrEqual(0);
      }
    });

    it('gives the same sample for the same index and random state', async () => {
      const { source } = get();
      for (const mode of ['train', 'eval'] as const) {
        const [a, b] = await Promise.all([1, 2].map(() => source.get(3, new Philox(7).fork('x'), mode)));
        expect(a).toEqual(b);
        expect(a!.id).toBe(3);
      }
      const [a, b] = await Promise.all([1, 2].map((seed) => source.get(3, new Philox(seed), 'eval')));
      expect(a, 'evaluation must not depend on chance').toEqual(b);
    });

    it('needs no more than its assets to be opened again', async ({ skip }) => {
      const { source, config } = get();
      const given = source.assets?.();
      if (!given) return skip('has none');
      const again = await open(modality, config, 'train', given);
      try {
        expect(again.assets?.()).toEqual(given);
        const [a, b] = await Promise.all([source, again].map((one) => one.get(3, new Philox(7), 'train')));
        expect(a).toEqual(b);
      } finally {
        await again.close?.();
      }
    });

    it('gives samples that cross threads', () => {
      for (const one of get().samples) {
        expect(structuredClone(one)).toEqual(one);
        for (const part of Object.values(one.tensors)) expectTensor(part);
      }
    });

    it('collates batches of any size', () => {
      const { samples } = get();
      for (const part of [samples, samples.slice(0, 1)]) {
        const batch = get().batch(part);
        expect(batch.size).toBe(part.length);
        expect(batch.ids).toEqual(part.map((one) => one.id));
        if (batch.labels) expect(batch.labels).toHaveLength(part.length);
        for (const value of Object.values(batch.tensors)) {
          expectTensor(value);
          expect(value.shape[0]).toBe(part.length);
        }
      }
    });

    it.runIf(sample.inputs)('opens files and folders named by the user', async () => {
      const source = await modality.openInputs(sample.inputs!, get().config.data, options());
      expect(source.length).toBeGreaterThan(0);
      const one = await source.get(0, new Philox(1), 'eval');
      expect(Object.keys(one.tensors)).toEqual(Object.keys(get().samples[0]!.tensors));
      expect(source.describe(0)).not.toBe('');
      await source.close?.();
    });

    it('says clearly when there is no data', async () => {
      const missing = modality.openInputs(['/nowhere/at/all'], get().config.data, options());
      await expect(missing.then((source) => source.get(0, new Philox(1), 'eval'))).rejects.toBeInstanceOf(
        D2vError,
      );
    });

    it.runIf(modality.baseline)('has a baseline with features of one length', () => {
      const rows = get().samples.map((one) => modality.baseline!.features(one));
      expect(new Set(rows.map((row) => row.length)).size).toBe(1);
      for (const row of rows) expect(row.every(Number.isFinite)).toBe(true);
    });
  });
}

function expectTensor({ data, shape }: HostTensor): void {
  expect(data.length).toBe(shape.reduce((a, b) => a * b, 1));
  expect([Float32Array, Int32Array, Uint8Array].some((type) => data instanceof type)).toBe(true);
}

function describeTraining(modality: Modality, get: () => Setup): void {
  describe('training', () => {
    it('lowers the loss in 50 updates, and the checkpoint gives features', { timeout: 300_000 }, async () => {
      const { config, folder, samples } = get();
      const runDir = join(folder, 'run');
      const result = await train({ config, modality, runDir });
      expect(result.update).toBe(50);
      expect(result.badSamples).toBe(0);
      const losses = (await readMetrics(join(runDir, 'metrics.jsonl'))).flatMap(({ loss }) =>
        typeof loss === 'number' ? [loss] : [],
      );
      const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
      expect(mean(losses.slice(-5))).toBeLessThan(0.95 * mean(losses.slice(0, 5)));
      const model = await loadModel(runDir, { modality });
      try {
        expect(model.assets).toEqual(get().source.assets?.());
        const { data, shape } = await model.embed(samples);
        expect(shape).toEqual([samples.length, config.model.embed_dim]);
        expect(data.every(Number.isFinite)).toBe(true);
      } finally {
        model.dispose();
      }
    });
  });
}
