/** Models of several modalities, loaded. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Sample } from '../modality/contract.js';
import { registerModality } from '../modality/registry.js';
import { Philox } from '../random.js';
import { bothConfig, bothModalities, steps, stepsModality } from './__fixtures__/joint.js';
import { waves } from './__fixtures__/waves.js';
import { type LoadedModel, loadModel } from './loaded-model.js';
import { train } from './train.js';

let parent: string;
let runDir: string;
let model: LoadedModel;
const samples: Record<string, Sample[]> = {};
const file = (name: string) => join(parent, 'inputs', name);

beforeAll(async () => {
  parent = mkdtempSync(join(tmpdir(), 'd2v-joint-model-'));
  runDir = join(parent, 'run');
  const source = { waves: waves(), steps: steps() };
  const openSource = async (_split: string, modality: string) => source[modality as keyof typeof source];
  await train({ config: bothConfig(), modalities: bothModalities, runDir, openSource });
  model = await loadModel(runDir, { modalities: bothModalities });
  for (const [name, data] of Object.entries(source)) {
    samples[name] = await Promise.all([0, 1, 2].map((i) => data.get(i, new Philox(1), 'eval')));
  }
  mkdirSync(file('more/deep'), { recursive: true });
  mkdirSync(file('mixed'));
  for (const name of [
    'a.wave',
    'b.wave',
    'a.step',
    'odd.txt',
    'more/deep/c.step',
    'mixed/a.wave',
    'mixed/a.step',
  ]) {
    writeFileSync(file(name), '');
  }
});
afterAll(() => {
  model.dispose();
  rmSync(parent, { recursive: true, force: true });
});

describe('a model of several modalities', () => {
  it('embeds each, as its own view or by the option', async () => {
    expect(model.modalities).toEqual(['waves', 'steps']);
    for (const name of model.modalities) {
      const own = await model.for(name).embed(samples[name]!);
      expect(own.shape).toEqual([3, 16]);
      expect((await model.embed(samples[name]!, { modality: name })).data).toEqual(own.data);
    }
    expect(model.for('waves')).toMatchObject({ depth: 3, width: 16, update: 12 });
    expect(model.for('steps')).toMatchObject({ depth: 2, width: 16 });
    expect(model.for('steps').config.data.batch_size).toBe(4);
  });

  it('finds out what files are, in the order given', async () => {
    const paths = ['a.wave', 'b.wave', 'a.step', 'more'].map(file);
    const { shape, names, modality } = await model.embed(paths, { numWorkers: 0 });
    expect(shape).toEqual([4, 16]);
    expect(names).toEqual(['wave 0', 'wave 1', 'step 0', 'step 1']);
    expect(modality).toBeUndefined();
    const seen: unknown[] = [];
    for await (const batch of model.embedStream(paths, { numWorkers: 0 })) seen.push(batch.modality);
    expect(seen).toEqual(['waves', 'steps']);
  });

  it.each([
    ['odd.txt', 'odd.txt is of none of waves, steps: say which modality is meant (--modality'],
    ['mixed', 'mixed holds files of waves and steps: say which'],
    ['nothing', 'nothing: no such file or folder'],
  ])('refuses %s', async (name, message) => {
    await expect(model.embed([file(name)])).rejects.toThrow(message);
  });

  it('wants to know what is meant where it cannot tell', async () => {
    const message = "this model has waves, steps: say which is meant, with model.for('waves')";
    await expect(model.embed(samples.waves!)).rejects.toThrow(message);
    expect(() => model.config).toThrow(message);
    expect(() => model.for('text')).toThrow('this model has waves, steps, not text');
    expect(() => model.for('step')).toThrow('(did you mean "steps"?)');
  });
});

describe('loadModel', () => {
  it('loads some of the modalities, with the same features', async () => {
    const part = await loadModel(runDir, { modality: stepsModality });
    expect(part.modalities).toEqual(['steps']);
    expect([...part.model.stateDict().keys()].filter((name) => name.includes('WAVES'))).toEqual([]);
    expect((await part.embed(samples.steps!)).data).toEqual(
      (await model.for('steps').embed(samples.steps!)).data,
    );
    expect(() => part.for('waves')).toThrow(
      'this model has steps; its waves part is not loaded: npm install @d2v/modality-waves',
    );
    part.dispose();
  });

  it('loads what is installed', async () => {
    await expect(loadModel(runDir)).rejects.toThrow('no installed plugin provides the modality "waves"');
    registerModality(stepsModality);
    const part = await loadModel(runDir);
    expect(part).toMatchObject({ modalities: ['steps'], absent: ['waves'] });
    part.dispose();
    await expect(loadModel(runDir, { modalities: ['waves', 'steps'] })).rejects.toThrow('"waves"');
    await expect(loadModel(runDir, { modalities: ['text'] })).rejects.toThrow(
      'is a model of the modalities "waves", "steps", not "text"',
    );
  });
});
