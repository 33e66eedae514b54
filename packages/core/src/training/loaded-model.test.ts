import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeSafetensors } from '../interchange/safetensors-writer.js';
import type { Sample } from '../modality/contract.js';
import { Philox } from '../random.js';
import { waveConfig, waves, wavesModality } from './__fixtures__/waves.js';
import { type LoadedModel, loadModel } from './loaded-model.js';
import { train } from './train.js';

let parent: string;
let runDir: string;
let model: LoadedModel;
let samples: Sample[];

beforeAll(async () => {
  parent = mkdtempSync(join(tmpdir(), 'd2v-model-'));
  runDir = join(parent, 'run');
  const source = waves();
  const config = waveConfig({ checkpoint: { best_checkpoint_metric: 'loss' } });
  await train({ config, modality: wavesModality, runDir, openSource: async () => source });
  model = await loadModel(runDir, { modality: wavesModality });
  samples = await Promise.all(Array.from({ length: 11 }, (_, i) => source.get(i, new Philox(1), 'eval')));
});
afterAll(() => {
  model.dispose();
  rmSync(parent, { recursive: true, force: true });
});

function distance(a: Float32Array, b: Float32Array): number {
  return Math.hypot(...a.map((value, i) => value - b[i]!)) / Math.hypot(...a);
}

describe('loadModel', () => {
  it('needs the one file only', async () => {
    const alone = join(parent, 'alone');
    mkdirSync(alone);
    cpSync(join(runDir, 'checkpoints', '12', 'model.safetensors'), join(alone, 'my-model.safetensors'));
    const copy = await loadModel(join(alone, 'my-model.safetensors'), { modality: wavesModality });
    expect((await copy.embed(samples)).data).toEqual((await model.embed(samples)).data);
    expect(copy).toMatchObject({ update: 12, depth: 3, width: 16 });
    expect(copy.config.model).toEqual(model.config.model);
    copy.dispose();
  });

  it('finds the best and older checkpoints', async () => {
    const best = await loadModel(runDir, { modality: wavesModality, which: 'best' });
    expect([5, 10, 12]).toContain(best.update);
    best.dispose();
    const older = await loadModel(join(runDir, 'checkpoints', '5'), { modality: wavesModality });
    expect(older.update).toBe(5);
    older.dispose();
  });

  it('says what is wrong with other files', async () => {
    const file = join(parent, 'other.safetensors');
    writeFileSync(
      file,
      encodeSafetensors([{ name: 'x', dtype: 'f32', shape: [1], bytes: new Uint8Array(4) }]),
    );
    await expect(loadModel(file)).rejects.toThrow(/not a model of this software/);
    writeFileSync(file, 'nonsense, but long enough');
    await expect(loadModel(file)).rejects.toThrow(/not a valid safetensors/);
    await expect(loadModel(join(parent, 'nowhere'))).rejects.toThrow(/holds no checkpoint/);
    const newer = encodeSafetensors([], { format: 'd2v', format_version: '99' });
    writeFileSync(file, newer);
    await expect(loadModel(file)).rejects.toThrow(/newer version of @d2v\/core/);
  });
});

describe('LoadedModel.embed', () => {
  it('gives the same features whatever the batch', async () => {
    const whole = await model.embed(samples);
    expect(whole.shape).toEqual([11, 16]);
    for (const batchSize of [1, 3, 11]) {
      expect(distance(whole.data, (await model.embed(samples, { batchSize })).data)).toBeLessThan(1e-5);
    }
  });

  it('knows layers, networks and pools', async () => {
    const last = await model.embed(samples);
    for (const options of [{ layer: 0 }, { layer: 1 }, { network: 'student' }, { pool: 'cls' }] as const) {
      const other = await model.embed(samples, options);
      expect(other.shape).toEqual([11, 16]);
      expect(distance(last.data, other.data)).toBeGreaterThan(1e-3);
    }
    const tokens = await model.embed(samples, { pool: 'none' });
    expect(tokens.shape).toEqual([11, 16, 16]);
    const mean = last.data.map((_, i) => {
      const [row, dim] = [Math.floor(i / 16), i % 16];
      let sum = 0;
      for (let t = 0; t < 16; t++) sum += tokens.data[(row * 16 + t) * 16 + dim]!;
      return sum / 16;
    });
    expect(distance(last.data, mean)).toBeLessThan(1e-5);
    await expect(model.embed(samples, { layer: 4 })).rejects.toThrow(/layer must be .* to 3; got 4/);
    await expect(model.embed(samples, { pool: 'max' as never })).rejects.toThrow(/pool must be one of/);
  });

  it('takes data sources, files and batches', async () => {
    const fromSource = await model.embed(waves({ length: 11 }));
    expect(fromSource.names[3]).toBe('wave 3');
    expect([...fromSource.labels!.slice(0, 4)]).toEqual([0, 1, 2, 0]);
    expect(fromSource.classes).toEqual(['slow', 'medium', 'fast']);
    const files = Array.from({ length: 11 }, (_, i) => `${i}.wav`);
    const batch = wavesModality.collate(samples, model.config.data as never);
    for (const input of [files, batch, samples]) {
      expect(distance(fromSource.data, (await model.embed(input)).data)).toBeLessThan(1e-5);
    }
  });

  it('leaves damaged inputs out when told to, and stops on them otherwise', async () => {
    const damaged = waves({ length: 11, faults: { 4: 'bad' } });
    await expect(model.embed(damaged)).rejects.toThrow(/4\.wav: made so/);
    const bad: string[] = [];
    const rest = await model.embed(damaged, { onBad: (file) => bad.push(file), batchSize: 2 });
    expect(bad).toEqual(['4.wav']);
    expect(rest.ids).toEqual([0, 1, 2, 3, 5, 6, 7, 8, 9, 10]);
  });

  it('streams', async () => {
    const sizes: number[] = [];
    for await (const part of model.embedStream(waves({ length: 11 }), { batchSize: 4 }))
      sizes.push(part.ids.length);
    expect(sizes).toEqual([4, 4, 3]);
  });
});
