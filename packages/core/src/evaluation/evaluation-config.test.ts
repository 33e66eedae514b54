import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { RunConfig } from '../config/schema.js';
import type { DataConfig, Modality, OpenDataOptions } from '../modality/contract.js';
import { waveConfig, waves, wavesModality } from '../training/__fixtures__/waves.js';
import { readMetrics } from '../training/metrics-log.js';
import { train } from '../training/train.js';
import { openEvaluationData } from './evaluate.js';
import { evaluationConfig } from './evaluation-config.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'd2v-eval-data-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What was opened: `<dataset or path> <split>`. */
let opened: string[] = [];
const modality: Modality = {
  ...wavesModality,
  dataSchema: z.strictObject({
    rule: z.enum(['none', 'mod3']).default('none').describe('where labels come from'),
  }),
  datasets: { labelled: { description: 'waves with classes', license: 'CC0-1.0', size: '40' } },
  openData: async (data: DataConfig & { rule?: string }, { split, assets }: OpenDataOptions) => {
    const name = data.dataset ?? data.path;
    opened.push(`${name} ${split}${data.limit > 0 ? ' limited' : ''}${assets ? ' with assets' : ''}`);
    const given = { 'a.txt': new Uint8Array(1) };
    return waves({ labelled: name === 'labelled' || data.rule === 'mod3', assets: given });
  },
};
const settings = (evaluation: Partial<RunConfig['eval']>): RunConfig => ({
  ...waveConfig({ optimization: { max_update: 2 } }),
  data: { ...waveConfig().data, path: 'unlabelled', valid_path: 'held-out', limit: 7 },
  eval: { ...waveConfig().eval, interval_updates: 1, ...evaluation },
});

describe('eval.data', () => {
  it('takes the place of the training data, by name or path, with options of its own', async () => {
    const config = settings({});
    expect(await evaluationConfig(modality, config)).toBe(config);
    const { data, ...rest } = await evaluationConfig(modality, settings({ data: 'labelled' }));
    expect(data).toMatchObject({ dataset: 'labelled', path: null, valid_path: null, limit: 0 });
    expect(rest.model).toEqual(config.model);
    const options = { data: folder, data_options: { rule: 'mod3', valid_path: 'v' } };
    const own = await evaluationConfig(modality, settings(options));
    expect(own.data).toMatchObject({ dataset: null, path: folder, valid_path: 'v', rule: 'mod3' });
  });

  it('has no options of the dataset that is trained on', async () => {
    const { data, ...rest } = settings({ data: 'labelled' });
    const config = {
      ...rest,
      data: { ...data, path: null, dataset: 'other', dataset_options: { side: 64 } },
    };
    expect((await evaluationConfig(modality, config)).data.dataset_options).toEqual({});
    const same = { ...config, data: { ...config.data, dataset: 'labelled' } };
    expect((await evaluationConfig(modality, same)).data.dataset_options).toEqual({ side: 64 });
  });

  it('says what does not exist', async () => {
    const wrong = (evaluation: Partial<RunConfig['eval']>) =>
      evaluationConfig(modality, settings(evaluation));
    await expect(wrong({ data: 'labeled' })).rejects.toThrow(/^eval\.data labeled: no such file.*"labelled"/);
    const options = { data: 'labelled', data_options: { rul: 'mod3' } };
    await expect(wrong(options)).rejects.toThrow(/eval\.data_options.*unknown key "data\.rul".*data\.rule/);
  });

  it('is what features are scored on, during the run and after it', async () => {
    opened = [];
    const runDir = join(folder, 'run');
    await train({ config: settings({ data: 'labelled' }), modality, runDir });
    expect(opened).toEqual([
      'unlabelled train limited',
      'labelled train with assets',
      'labelled valid with assets',
    ]);
    const scored = readMetrics(join(runDir, 'metrics.jsonl')).filter((record) => 'eval/knn_top1' in record);
    expect(scored).toHaveLength(2);
    await expect(train({ config: settings({}), modality, runDir: join(folder, 'other') })).rejects.toThrow(
      /no labelled samples.*eval\.data/,
    );
    opened = [];
    const data = await openEvaluationData(modality, settings({ data: 'labelled' }), { assets: {} });
    expect(opened).toEqual(['labelled train with assets', 'labelled valid with assets']);
    expect(data.valid.classes).toHaveLength(3);
    await data.close();
  });
});
