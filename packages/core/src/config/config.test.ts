import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { D2vError } from '../errors.js';
import { fakeModality } from '../modality/fake.js';
import { suggestKey } from './check.js';
import { dataLayer } from './data-layer.js';
import { portableConfig, readRunConfig, readRunModalities, writeRunConfig } from './files.js';
import { leafKeys } from './introspect.js';
import { objectLayer, readYamlLayer, yamlLayer } from './layer.js';
import { configToYaml } from './print.js';
import { parseResolved, resolveConfig } from './resolve.js';
import { resumeConfig } from './resume.js';
import { runConfigSchema } from './schema.js';
import { editDistance, nearest } from './suggest.js';

const modality = fakeModality;
const schema = runConfigSchema(modality);
const resolve = (text = '', set: string[] = [], preset?: string) =>
  resolveConfig({ modality, preset, layers: [yamlLayer(text, 'run.yaml')], set });
const image = (config: ReturnType<typeof resolve>) => config.model.modalities.fake as Record<string, unknown>;

describe('layers', () => {
  it('lays defaults, preset, file and flags on each other', () => {
    const config = resolve(
      'optimization: {max_update: 7}\nmodel:\n  modalities:\n    fake: {mask_length: 2}\n',
      ['common.seed=9'],
    );
    expect(config.preset).toBe('tiny');
    expect(config.optimization).toMatchObject({ lr: 5e-4, max_update: 7 });
    expect(config.model).toMatchObject({ embed_dim: 64, depth: 2, num_heads: 12 });
    expect(image(config)).toMatchObject({ mask_prob: 0.6, mask_length: 2, window: 8 });
    expect(config.data).toMatchObject({ dataset: 'sines', rate: 16 });
    expect(config.common.seed).toBe(9);
  });

  it('fills what follows from other keys', () => {
    const config = resolve('common: {seed: 5}\noptimization: {max_update: 70}');
    expect(config.model).toMatchObject({ ema_anneal_end_step: 70, max_update: 70, seed: 5 });
    expect(resolve('model: {ema_anneal_end_step: 3}').model.ema_anneal_end_step).toBe(3);
  });

  it('takes the preset from the argument, then from the topmost layer', () => {
    expect(resolve('preset: base').optimizer.adam_betas).toEqual([0.9, 0.98]);
    expect(resolve('preset: base', [], 'tiny').preset).toBe('tiny');
    expect(() => resolve('', [], 'tinny')).toThrow(
      'modality fake has no preset "tinny" (did you mean "tiny"?)',
    );
  });

  it('accepts the reference way of writing a scalar as a list of one', () => {
    expect(resolve('optimization: {lr: [0.002], update_freq: [4]}').optimization).toMatchObject({
      lr: 0.002,
      update_freq: 4,
    });
  });

  it('needs some rule that ends the run', () => {
    expect(() => resolve('optimization: {max_update: null}')).toThrow(/set stop.max_seconds/);
    const config = resolve('optimization: {max_update: null}\nstop: {max_seconds: 60}');
    expect(config.optimization.max_update).toBeNull();
  });

  it('leaves presets and layers unchanged', () => {
    const before = structuredClone(modality.presets.tiny!.config);
    const config = resolve('', ['model.modalities.fake.mask_prob=0.1']);
    expect(image(config).mask_prob).toBe(0.1);
    expect(modality.presets.tiny!.config).toEqual(before);
  });
});

describe('errors name key, origin and remedy', () => {
  const cases: [string, string, string[], string][] = [
    [
      'a slip of the pen',
      'model:\n  clone_bach: 4',
      [],
      'run.yaml:2: unknown key "model.clone_bach" (did you mean "model.clone_batch"?)',
    ],
    [
      'the wrong section',
      'clone_batch: 4',
      [],
      'run.yaml:1: unknown key "clone_batch" (did you mean "model.clone_batch"?)',
    ],
    [
      'a key of the modality',
      'model:\n  mask_prob: 1',
      [],
      'run.yaml:2: unknown key "model.mask_prob" (did you mean "model.modalities.fake.mask_prob"?)',
    ],
    [
      'another modality',
      'model:\n  modalities:\n    image: {}',
      [],
      'run.yaml:3: unknown key "model.modalities.image"',
    ],
    [
      'a group of the original',
      'dataset:\n  batch_size: 4',
      [],
      'run.yaml:1: unknown key "dataset" (did you mean "data"?)',
    ],
    [
      'the wrong type',
      'optimization:\n  lr: fast',
      [],
      'run.yaml:2: optimization.lr must be a number, not "fast"',
    ],
    [
      'a fraction for a count',
      'optimization:\n  max_update: 1.5',
      [],
      'run.yaml:2: optimization.max_update must be a whole number or null, not 1.5',
    ],
    [
      'a value out of range',
      'data:\n  batch_size: 0',
      [],
      'run.yaml:2: data.batch_size must be at least 1, not 0',
    ],
    [
      'a wrong choice',
      'lr_scheduler: {name: cosin}',
      [],
      'run.yaml:1: lr_scheduler.name must be one of cosine, tri_stage, polynomial, constant, not "cosin"',
    ],
    [
      'a scalar for a section',
      'optimizer: adam',
      [],
      'run.yaml:1: optimizer must be a section with keys, not "adam"',
    ],
    ['a list too short', 'optimizer: {adam_betas: [0.9]}', [], 'run.yaml:1: optimizer.adam_betas'],
    [
      'an element of a list',
      'optimizer:\n  adam_betas:\n    - 0.9\n    - x',
      [],
      'run.yaml:4: optimizer.adam_betas.1 must be a number, not "x"',
    ],
    [
      'another modality by name',
      'modality: text',
      [],
      'run.yaml:1: the config is for modality "text", not "fake"',
    ],
    ['--set without =', '', ['common.seed'], '--set common.seed: write it as key=value'],
    [
      '--set of an unknown key',
      '',
      ['comon.seed=1'],
      '--set comon.seed: unknown key "comon.seed" (did you mean "common.seed"?)',
    ],
    ['--set of a wrong type', '', ['common.seed=x'], '--set common.seed must be a whole number, not "x"'],
    [
      '--set out of range',
      '',
      ['data.batch_size=0'],
      '--set data.batch_size: data.batch_size must be at least 1, not 0',
    ],
    ['a key named __proto__', '__proto__:\n  polluted: 1', [], 'run.yaml:1: unknown key "__proto__"'],
  ];
  it.each(cases)('%s', (_name, text, set, message) => {
    let error: unknown;
    try {
      resolve(text, set);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(D2vError);
    expect((error as Error).message).toContain(message);
    expect((error as Error).message).not.toContain('\n');
  });

  it('of YAML itself, with the line', () => {
    expect(() => yamlLayer('a: 1\nb: [1\nc: 2', 'x.yaml')).toThrow(/^x\.yaml:\d: /);
    expect(() => yamlLayer('a: 1\na: 2', 'x.yaml')).toThrow(/^x\.yaml:2: /);
    expect(() => yamlLayer('- 1', 'x.yaml')).toThrow('x.yaml: a config is a map');
    expect(() => yamlLayer('x'.repeat(2_000_000), 'x.yaml')).toThrow('too large');
  });

  it('of aliases that explode', () => {
    const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]'];
    for (let i = 1; i < 12; i++)
      lines.push(
        `a${i}: &a${i} [${Array(10)
          .fill(`*a${i - 1}`)
          .join(', ')}]`,
      );
    expect(() => yamlLayer(lines.join('\n'), 'x.yaml')).toThrow(D2vError);
  });

  it('of any YAML value anywhere: a D2vError or a config, nothing else', () => {
    const keys = leafKeys(schema).filter(Boolean);
    fc.assert(
      fc.property(fc.constantFrom(...keys), fc.jsonValue(), (key, value) => {
        const nested = key.split('.').reduceRight<unknown>((inner, part) => ({ [part]: inner }), value);
        try {
          resolveConfig({ modality, layers: [objectLayer(nested as Record<string, unknown>, 'test')] });
        } catch (error) {
          expect(error).toBeInstanceOf(D2vError);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('--set', () => {
  it('reads values by the type of the key', () => {
    const config = resolve('', [
      'data.path=123',
      'optimizer.adam_betas=0.9,0.95',
      'optimization.lr=1e-3',
      'common.tensorboard=false',
      'stop.max_seconds=90',
      'data.dataset=null',
      'optimizer.groups=[{match: decoder, lr_scale: 0.5}]',
      'model.modalities.fake.mask_prob=0.4',
      'common.device=cuda:0',
      'data.cache_dir=a=b, c',
    ]);
    expect(config.data).toMatchObject({ path: '123', dataset: null, cache_dir: 'a=b, c' });
    expect(config.optimizer.adam_betas).toEqual([0.9, 0.95]);
    expect(config.optimizer.groups).toEqual([{ match: 'decoder', lr_scale: 0.5, weight_decay: null }]);
    expect(config.common).toMatchObject({ tensorboard: false, device: 'cuda:0' });
    expect(image(config).mask_prob).toBe(0.4);
  });

  it('sets sections and nulls, the last one wins', () => {
    const config = resolve('', [
      'data.limit=5',
      'data.limit=6',
      'model.modalities.fake.decoder=null',
      'stop={max_seconds: 4}',
    ]);
    expect(config.data.limit).toBe(6);
    expect(image(config).decoder).toBeNull();
    expect(config.stop.max_seconds).toBe(4);
  });
});

describe('resuming', () => {
  const stored = resolve('');
  const resume = (...set: string[]) => resumeConfig(modality, stored, { set });

  it('lets a run change when it ends and how it is observed', () => {
    const config = resume('stop.max_seconds=9', 'optimization.max_update=20000', 'common.log_interval=5');
    expect(config.stop.max_seconds).toBe(9);
    expect(config.model.ema_anneal_end_step).toBe(10_000);
    expect(resume('optimization.lr=5e-4')).toEqual(stored);
  });

  it('lets a run go on on another device', () => {
    const onGpu = resolve('', ['common.device=cuda', 'common.tf32=true', 'common.cuda_graphs=true']);
    const set = ['common.device=cpu', 'common.tf32=false', 'common.cuda_graphs=false'];
    const { common } = resumeConfig(modality, onGpu, { set });
    expect(common).toMatchObject({ device: 'cpu', tf32: false, cuda_graphs: false });
  });

  it('lets a run that has diverged learn more slowly', () => {
    const config = resume(
      'optimization.lr=1e-4',
      'optimization.clip_norm=4',
      'lr_scheduler.warmup_updates=50',
    );
    expect(config.optimization).toMatchObject({ lr: 1e-4, clip_norm: 4 });
    expect(config.lr_scheduler.warmup_updates).toBe(50);
  });

  it('refuses to change what it learns', () => {
    expect(() => resume('model.depth=4')).toThrow(
      'a resumed run keeps model.depth (2, not 4): leave it out, or start a new run in another folder',
    );
    expect(() => resume('optimizer.adam_betas=0.5,0.5')).toThrow('keeps optimizer.adam_betas ([0.9,0.999]');
  });
});

describe('--data', () => {
  it('is a dataset by name or a path', async () => {
    expect((await dataLayer(modality, 'sines', '--data')).value).toEqual({
      data: { dataset: 'sines', path: null },
    });
    expect((await dataLayer(modality, '.', '--data')).value).toEqual({ data: { dataset: null, path: '.' } });
    await expect(dataLayer(modality, 'sine', '--data')).rejects.toThrow(
      '--data sine: no such file or folder, and modality fake has no dataset of that name (did you mean "sines"?)',
    );
  });
});

describe('printing', () => {
  it('reads back as the same config, with a comment per key', () => {
    const config = resolve('stop: {loss_threshold: 0.5}');
    const text = configToYaml(schema, config);
    expect(parseResolved(modality, yamlLayer(text, 'x'))).toEqual(config);
    const bare = text.split('\n').filter((line) => /^\s*[a-z_]+: \S/.test(line) && !line.includes(' # '));
    expect(bare).toEqual([]);
    expect(text).toContain('adam_betas: [0.9, 0.999] # ');
    expect(configToYaml(schema, config, { comments: false })).not.toContain('#');
  });

  it('keeps odd texts', () => {
    for (const path of ['yes', '12', 'a: b # c', '', ' x ', 'null', '~', "it's", 'a\nb']) {
      const config = resolve('');
      config.data.path = path;
      expect(parseResolved(modality, yamlLayer(configToYaml(schema, config), 'x')).data.path).toBe(path);
    }
  });
});

describe('run folder', () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'd2v-config-'));
  });
  afterAll(() => rm(dir, { recursive: true }));

  it('stores no absolute path and finds the data again', async () => {
    const config = resolve('');
    config.data.path = join(dir, 'photos');
    await writeRunConfig(dir, modality, config);
    const stored = (await readYamlLayer(join(dir, 'config.yaml'))).value as { data: { path: string } };
    expect(stored.data.path).toBe('photos');
    expect(await readRunModalities(dir)).toEqual(['fake']);
    const read = await readRunConfig(dir, modality);
    expect(join(process.cwd(), read.data.path!)).toBe(config.data.path);
    expect(portableConfig(config, modality).data.path).toBe('photos');
    expect(JSON.stringify(portableConfig(config, modality))).not.toContain(dir);
  });

  it('tells paths from names', async () => {
    const plugin = { ...modality, pathKeys: ['codebook'], dataSchema: z.object({ codebook: z.string() }) };
    const config = resolve('');
    config.eval.data_options = { valid_path: join(dir, 'more'), label: 'top' };
    const read = async (value: string, evalData: string) => {
      const data = { ...config.data, rate: undefined, codebook: value };
      const given = { ...config, data, eval: { ...config.eval, data: evalData } };
      await writeRunConfig(dir, plugin, given);
      const stored = await readFile(join(dir, 'config.yaml'), 'utf8');
      expect(stored).not.toContain(dir);
      expect(JSON.stringify(portableConfig(given, plugin))).not.toContain(dir);
      const { data: again, eval: scored } = await readRunConfig(dir, plugin);
      return [(again as { codebook?: string }).codebook, scored.data, scored.data_options] as const;
    };
    const here = relative('', dir);
    const options = { valid_path: join(here, 'more'), label: 'top' };
    expect(await read('gpt2', 'sines')).toEqual(['gpt2', 'sines', options]);
    expect(await read(join(dir, 'c.json'), join(dir, 'labelled'))).toEqual([
      join(here, 'c.json'),
      join(here, 'labelled'),
      options,
    ]);
    // What is read is written again as it was.
    expect(await read('./sines', './c')).toEqual(['./sines', './c', options]);
    await writeFile(join(dir, 'plain'), '');
    expect(await read('plain', 'plain')).toEqual(['plain', 'plain', options]);
  });

  it('says what is no run folder', async () => {
    await expect(readRunModalities(join(dir, 'nothing'))).rejects.toThrow('is not a run folder');
    await writeFile(join(dir, 'c.yaml'), 'a: [');
    await expect(readYamlLayer(join(dir, 'c.yaml'))).rejects.toThrow(/c\.yaml:1: /);
    await expect(readYamlLayer(dir)).rejects.toThrow('is a folder');
  });
});

describe('suggestions', () => {
  it('counts edits', () => {
    expect(editDistance('abcd', 'abdc')).toBe(1);
    expect(editDistance('', 'abc')).toBe(3);
    fc.assert(
      fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (a, b) => {
        const distance = editDistance(a, b);
        expect(distance).toBe(editDistance(b, a));
        expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length));
        expect(distance === 0).toBe(a === b);
      }),
    );
  });
  it('suggests only what is near', () => {
    expect(nearest('lr-scheduler', ['lr_scheduler', 'optimizer'])).toBe('lr_scheduler');
    expect(nearest('zebra', ['lr', 'data'])).toBeUndefined();
    expect(nearest('kernel', ['k'])).toBeUndefined();
  });
  it('finds a key by the last word of its name, in the section most alike', () => {
    const several = z.object({
      a: z.object({ decoder: z.object({ decoder_kernel: z.number() }), other_kernel: z.number() }),
      eval: z.object({ k: z.number() }),
    });
    expect(suggestKey(several, ['a', 'decoder', 'kernel'])).toBe('a.decoder.decoder_kernel');
    expect(suggestKey(several, ['decoder', 'kernel'])).toBe('a.decoder.decoder_kernel');
  });
});
