import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defineModality } from '../modality/contract.js';
import { fakeModality, otherModality } from '../modality/fake.js';
import { dataLayer } from './data-layer.js';
import { portableConfig, readRunConfig, readRunModalities, writeRunConfig } from './files.js';
import { isJoint, type JointConfig, viewOf } from './joint.js';
import { objectLayer, yamlLayer } from './layer.js';
import { configToYaml } from './print.js';
import { parseResolved, resolveConfig } from './resolve.js';
import { resumeConfig } from './resume.js';
import { runConfigSchema } from './schema.js';

const both = [fakeModality, otherModality];
const resolve = (text = '', set: string[] = [], preset?: string) =>
  resolveConfig({ modalities: both, preset, layers: [yamlLayer(text, 'run.yaml')], set }) as JointConfig;
const encoder = (config: JointConfig, name: string) =>
  config.model.modalities[name] as Record<string, unknown>;

describe('a config of several modalities', () => {
  it('has sections of each, and shares the rest', () => {
    const config = resolve();
    expect(config).toMatchObject({ modalities: ['fake', 'other'], preset: 'tiny' });
    expect(config.joint.ratios).toEqual({ fake: 1, other: 1 });
    expect(config.data.fake).toMatchObject({ dataset: 'sines', rate: 16, batch_size: 32 });
    expect(config.data.other).toMatchObject({ dataset: null, width: 3, batch_size: 6 });
    expect(config.eval).toMatchObject({
      interval_updates: null,
      fake: { pool: 'mean' },
      other: { pool: 'grid' },
    });
    expect(config).not.toHaveProperty('modality');
  });

  it('takes what is shared from the joint preset, encoders and data from the modalities', () => {
    const tiny = resolve();
    expect(tiny.model).toMatchObject({ embed_dim: 192, depth: 4, cls_loss: 0.001 });
    expect(encoder(tiny, 'fake').mask_prob).toBe(0.6);
    expect(encoder(tiny, 'other')).toMatchObject({ mask_prob: 0.4, mask_length: 7 });
    const base = resolve('', [], 'base');
    expect(base.model).toMatchObject({
      embed_dim: 768,
      depth: 10,
      average_top_k_layers: 10,
      clone_batch: 16,
    });
    // Without a preset of that name, its default one; its own changes above.
    expect(encoder(base, 'other')).toMatchObject({ mask_prob: 0.4, mask_length: 9 });
    expect(base.optimizer.adam_betas).toEqual([0.9, 0.98]);
    expect(() => resolve('', [], 'large')).toThrow(
      'there is no preset "large" for several modalities (there is: tiny, base)',
    );
  });

  it('obeys files and flags', () => {
    const config = resolve(
      'modalities: [other, fake]\njoint: {ratios: {other: 3}}\ndata:\n  fake: {batch_size: 5}\n',
      ['data.other.width=8', 'model.modalities.other.mask_prob=0.1', 'eval.fake.k=3', 'eval.report=false'],
    );
    expect(config.modalities).toEqual(['fake', 'other']);
    expect(config.joint.ratios).toEqual({ fake: 1, other: 3 });
    expect(config.data).toMatchObject({ fake: { batch_size: 5 }, other: { width: 8 } });
    expect(encoder(config, 'other').mask_prob).toBe(0.1);
    expect(viewOf(config, 'fake').eval).toMatchObject({ k: 3, report: false });
  });

  it('is for one modality what that alone would have', () => {
    const alone = resolveConfig({ modality: fakeModality });
    const view = viewOf(resolve(), 'fake');
    expect(view).toMatchObject({ modality: 'fake', data: alone.data, eval: alone.eval });
    expect(view.model.modalities).toEqual(alone.model.modalities);
    expect(Object.keys(view).sort()).toEqual(Object.keys(alone).sort());
    expect(runConfigSchema(fakeModality).safeParse(view).success).toBe(true);
  });

  it('of a list of one is that of a single modality', () => {
    expect(resolveConfig({ modalities: [fakeModality] })).toEqual(resolveConfig({ modality: fakeModality }));
    const layers = [yamlLayer('modalities: [fake]', 'run.yaml')];
    expect(resolveConfig({ modality: fakeModality, layers })).toEqual(
      resolveConfig({ modality: fakeModality }),
    );
  });

  it('can be printed and read back', () => {
    const config = resolve();
    const schema = runConfigSchema(both);
    const text = configToYaml(schema, config);
    expect(text).toContain('# the other data');
    expect(text).toContain('ratios:\n    fake: 1');
    expect(parseResolved(both, yamlLayer(text, 'x'))).toEqual(config);
  });

  it('lets every modality suggest settings for its own sections', () => {
    const suggesting = (modality: typeof otherModality, lr: number) => ({
      ...modality,
      suggest: (settings: { data?: { batch_size?: unknown } }) => ({
        data: { limit: Number(settings.data?.batch_size ?? 0) },
        optimization: { lr },
      }),
    });
    const modalities = [suggesting(otherModality, 1), suggesting({ ...fakeModality } as never, 2)];
    const config = resolveConfig({ modalities, set: ['data.fake.batch_size=4'] }) as JointConfig;
    expect([config.data.other!.limit, config.data.fake!.limit]).toEqual([6, 4]);
    // The joint preset decides on what is shared.
    expect(config.optimization.lr).toBe(resolve().optimization.lr);
  });
});

describe('errors of such configs are one line with the remedy', () => {
  it.each([
    [
      '',
      ['joint.ratios.text=2'],
      'unknown key "joint.ratios.text" (this run has no modality "text", only fake, other)',
    ],
    ['', ['joint.ratios.othr=2'], 'did you mean "joint.ratios.other"?'],
    ['joint: {ratios: {fake: 0}}', [], 'run.yaml:1: joint.ratios.fake must be above 0, not 0'],
    ['', ['data.batch_size=2'], 'each modality has its own: data.fake.batch_size, data.other.batch_size'],
    ['data:\n  rate: 2', [], 'run.yaml:2: unknown key "data.rate" (did you mean "data.fake.rate"?)'],
    ['', ['eval.pool=cls'], 'each modality has its own: eval.fake.pool, eval.other.pool'],
    [
      '',
      ['eval.intervall_updates=2'],
      'unknown key "eval.intervall_updates" (did you mean "eval.interval_updates"?)',
    ],
    ['modality: fake', [], 'run.yaml:1: the config is for modality "fake", not "fake", "other"'],
    ['modalities: [fake, text]', [], 'the config is for modalities "fake", "text", not "fake", "other"'],
  ])('%s %j', (text, set, message) => {
    expect(() => resolve(text, set)).toThrow(message);
  });

  it('names twice, names none, and presets that reach into what is shared', () => {
    expect(() => resolveConfig({ modalities: [fakeModality, otherModality, fakeModality] })).toThrow(
      'names the modality "fake" twice',
    );
    expect(() => resolveConfig({ modalities: [] })).toThrow('names no modality');
    const joint = (config: object) => defineModality({ ...otherModality, jointPresets: { tiny: config } });
    expect(() => joint({ model: { depth: 3 } })).toThrow('jointPresets.tiny sets model.depth, which is not');
    expect(() => joint({ optimization: { lr: 3 } })).toThrow('jointPresets.tiny sets optimization');
    expect(() => joint({ model: { modalities: { fake: {} } } })).toThrow('sets model.modalities.fake');
  });
});

describe('--data of several modalities', () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'd2v-joint-'));
    await writeFile(join(dir, 'fake=odd'), '');
  });
  afterAll(() => rm(dir, { recursive: true }));

  it('says whose data it is', async () => {
    const layer = await dataLayer(both, ['fake=sines', `other=${dir}`], '--data');
    expect(layer.value.data).toEqual({
      fake: { dataset: 'sines', path: null },
      other: { dataset: null, path: dir },
    });
    expect((await dataLayer(fakeModality, 'fake=sines', '--data')).value.data).toMatchObject({
      dataset: 'sines',
    });
    const odd = join(dir, 'fake=odd');
    expect((await dataLayer(fakeModality, odd, '--data')).value.data).toMatchObject({ path: odd });
  });

  it.each([
    [['sines'], '--data sines: whose data is it? Write --data fake=sines or --data other=sines'],
    [['text=sines'], '--data text=sines: this run has no modality "text" (there is: fake, other)'],
    [['fake=sines', 'fake=sines'], '--data fake=sines: the data of fake is given twice'],
    [
      ['fake=nowhere'],
      '--data nowhere: no such file or folder, and modality fake has no dataset of that name',
    ],
  ])('%j is an error', async (values, message) => {
    await expect(dataLayer(both, values, '--data')).rejects.toThrow(message);
  });
});

describe('in a run folder', () => {
  it('paths of every modality are relative, and portable without', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'd2v-joint-'));
    const layers = [
      objectLayer({ data: { fake: { path: join(dir, 'a') }, other: { path: join(dir, 'b') } } }, 'x'),
    ];
    const config = resolveConfig({ modalities: both, layers });
    await writeRunConfig(dir, both, config);
    expect(await readRunModalities(dir)).toEqual(['fake', 'other']);
    const read = await readRunConfig(dir, both);
    if (!isJoint(read)) throw new Error('not joint');
    expect(read.data.other!.path).toMatch(/b$/);
    expect(portableConfig(config, both)).toMatchObject({
      data: { fake: { path: 'a' }, other: { path: 'b' } },
    });
    await rm(dir, { recursive: true });
  });

  it('a resumed run keeps its modalities and ratios, and may move its data', () => {
    const stored = resolve();
    const moved = resumeConfig(both, stored, { set: ['data.other.path=elsewhere', 'eval.fake.k=2'] });
    expect(moved).toMatchObject({ data: { other: { path: 'elsewhere' } }, eval: { fake: { k: 2 } } });
    expect(() => resumeConfig(both, stored, { set: ['joint.ratios.fake=2'] })).toThrow(
      'a resumed run keeps joint.ratios.fake (1, not 2)',
    );
    expect(() => resumeConfig(both, stored, { set: ['data.other.batch_size=2'] })).toThrow(
      'a resumed run keeps',
    );
  });
});
