import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type DataConfig,
  type DatasetOptions,
  openDataset,
  Philox,
  prepareDataset,
  resolveConfig,
  verifyDataset,
} from '@d2v/core';
import { FaultServer, makeZip } from '@d2v/core/testing';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { TextDataConfig } from '../../data-config.js';
import text from '../../index.js';
import { BOS, EOS } from '../../special-tokens.js';
import { makeTokenizer, tokenizerFiles } from '../../tokenizer/open.js';
import { glueDataset } from './index.js';
import { readTable } from './table.js';
import { GLUE_TASKS, type GlueTask } from './tasks.js';

const root = mkdtempSync(join(tmpdir(), 'd2v-glue-'));
afterAll(() => rmSync(root, { recursive: true }));

let server: FaultServer;
let cacheDir: string;
let said: string[];
beforeEach(async () => {
  server = await FaultServer.start();
  cacheDir = mkdtempSync(join(root, 'cache-'));
  said = [];
});
afterEach(() => server.close());

/** A published task with files of its own: names and layout stay, sizes and checksums are those of the copies. */
function copyOf(name: string, contents: Record<string, string | Buffer>) {
  const task = GLUE_TASKS.find((one) => one.name === name)!;
  const files = task.files.map((file) => {
    const content = Buffer.from(contents[file.name]!);
    server.serve(`/${file.name}`, content);
    const sha256 = createHash('sha256').update(content).digest('hex');
    return { ...file, bytes: content.length, checksums: { sha256 } };
  });
  return glueDataset({ ...task, files } satisfies GlueTask);
}

const given = (options: Record<string, unknown> = {}): DatasetOptions => ({
  cacheDir,
  mirror: server.url(''),
  acceptTerms: true,
  backoffScale: 0.01,
  options: { ...options },
  on: (event) => {
    if (event.type !== 'progress') said.push(event.message);
  },
});

const table = (...rows: string[][]) => `${rows.map((row) => row.join('\t')).join('\n')}\n`;
/** With a file of the Finder that published zips hold, too: nobody reads it. */
const zip = (files: Record<string, string>) =>
  makeZip([
    { name: 'Icon\r', content: '' },
    ...Object.entries(files).map(([name, content]) => ({ name, content, deflate: true })),
  ]);
const records = (folder: string, split: string) =>
  readFileSync(join(folder, `${split}.jsonl`), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

const tokenizer = makeTokenizer(tokenizerFiles('gpt2'), 'gpt2');
function open(dataset: string, split: 'train' | 'valid', options: Record<string, unknown> = {}) {
  const set = [`data.dataset=${dataset}`, 'data.tokenizer=gpt2'];
  const { data } = resolveConfig({ modality: text, preset: 'tiny', set });
  return text.openData(
    { ...(data as TextDataConfig & DataConfig), dataset_options: options },
    {
      split,
      cacheDir,
      log: () => undefined,
      offline: true,
    },
  );
}

describe('readTable', () => {
  const bytes = Buffer.from('\ufeffa\tb\r\n"quoted\tx\u2028y\r\nshort\n\nlast\tz');
  it('takes quotes and line separators as text, and leaves short lines out', () => {
    const { rows, short } = readTable(bytes, { text: 'b', label: 'a' }, 'x.tsv');
    expect(rows.map(({ text: value, label, line }) => [label, value, line])).toEqual([
      ['"quoted', 'x\u2028y', 2],
      ['last', 'z', 5],
    ]);
    expect(short).toBe(1);
  });

  it('names columns that are missing', () => {
    expect(() => readTable(bytes, { text: 'sentence' }, 'x.tsv')).toThrow(
      'x.tsv has no column "sentence" (it has a, b)',
    );
  });
});

describe('GLUE', () => {
  it('has eight tasks, with published sizes and checksums', () => {
    expect(GLUE_TASKS.map(({ name }) => name)).toEqual([
      'cola',
      'sst2',
      'mrpc',
      'qqp',
      'stsb',
      'mnli',
      'qnli',
      'rte',
    ]);
    for (const { files } of GLUE_TASKS) {
      for (const { bytes, checksums } of files) {
        expect(bytes).toBeGreaterThan(0);
        expect(checksums?.sha256).toMatch(/^[0-9a-f]{64}$/);
      }
    }
  });

  it('reads CoLA, whose files have no names of columns, and opens it with classes', async () => {
    const cola = copyOf('cola', {
      'CoLA.zip': zip({
        'CoLA/original/raw/in_domain_train.tsv': 'not this',
        'CoLA/train.tsv': table(
          ['gj04', '1', '', 'The "sailors" rode the breeze.'],
          ['gj04', '0', '*', 'They drank the pub.'],
        ),
        'CoLA/dev.tsv': table(['gj04', '1', '', 'The car honked.']),
        'CoLA/test.tsv': table(['index', 'sentence'], ['0', 'Bill whistled.']),
      }),
    });
    server.fault('/CoLA.zip', { kind: 'cut', at: 100, times: 1 });
    const { folder, splits } = await prepareDataset(cola, given());
    expect(splits).toEqual(['train', 'valid']);
    expect(records(folder, 'train')).toEqual([
      { text: 'The "sailors" rode the breeze.', label: 'acceptable', id: 1 },
      { text: 'They drank the pub.', label: 'unacceptable', id: 2 },
    ]);
    expect((await verifyDataset(cola, given())).problems).toEqual([]);
    const source = await open('glue-cola', 'train');
    expect(source.classes).toEqual(['acceptable', 'unacceptable']);
    expect([0, 1].map((i) => source.label!(i))).toEqual([0, 1]);
    await source.close?.();
    // What has no labels is only made when it is asked for.
    await prepareDataset(cola, given({ splits: ['test'] }));
    expect(records(folder, 'test')).toEqual([{ text: 'Bill whistled.', id: 2 }]);
  });

  it('tells parts of MRPC apart by the published ids, behind a byte order mark', async () => {
    const header = ['Quality', '#1 ID', '#2 ID', '#1 String', '#2 String'];
    const mrpc = copyOf('mrpc', {
      'msr_paraphrase_train.txt': `\ufeff${table(
        header,
        ['1', '702876', '702977', 'Amrozi accused his brother', 'Referring to him'],
        ['0', '2108705', '2108831', 'Yucaipa owned "Dominick\'s', 'Yucaipa bought it'],
      )}`.replaceAll('\n', '\r\n'),
      'msr_paraphrase_test.txt': `\ufeff${table(header, ['1', '1', '2', 'a', 'b'])}`,
      'mrpc_dev_ids.tsv': table(['2108705', '2108831']),
    });
    const { folder } = await prepareDataset(mrpc, given());
    expect(records(folder, 'train')).toEqual([
      { text: 'Amrozi accused his brother', pair: 'Referring to him', label: 'equivalent', id: 2 },
    ]);
    expect(records(folder, 'valid').map(({ label, id }) => [label, id])).toEqual([['not_equivalent', 3]]);
  });

  it('joins pairs as RoBERTa does', async () => {
    const header = ['index', 'question', 'sentence', 'label'];
    const row = ['0', 'Who sings?', 'The choir does.', 'entailment'];
    const qnli = copyOf('qnli', {
      'QNLIv2.zip': zip({
        'QNLI/train.tsv': table(header, row, ['1', 'When?', 'Never.', 'not_entailment'], ['2', 'cut off']),
        'QNLI/dev.tsv': table(header, row),
      }),
    });
    await prepareDataset(qnli, given());
    expect(said.join('\n')).toContain('1 lines with too few cells were left out');
    const source = await open('glue-qnli', 'train');
    expect(source.length).toBe(2);
    const ids = [...(await source.get(0, new Philox(1), 'eval')).tensors.source!.data];
    expect(ids[0]).toBe(BOS);
    const middle = ids.indexOf(EOS);
    expect(ids.slice(middle, middle + 2)).toEqual([EOS, EOS]);
    expect(tokenizer.decode(ids.slice(1, middle))).toBe('Who sings?');
    expect(tokenizer.decode(ids.slice(middle + 2, -1))).toBe('The choir does.');
    expect(ids.at(-1)).toBe(EOS);
    expect(source.classes).toEqual(['entailment', 'not_entailment']);
    await source.close?.();
  });

  it('takes either held-out part of MNLI, without pairs that nobody agreed on', async () => {
    const header = ['index', 'promptID', 'sentence1', 'sentence2', 'label1', 'gold_label'];
    const rows = (...labels: string[]) =>
      table(
        header,
        ...labels.map((label, i) => [String(i), 'p', `premise ${i}`, `guess ${i}`, label, label]),
      );
    const mnli = copyOf('mnli', {
      'MNLI.zip': zip({
        'MNLI/train.tsv': rows('entailment', 'neutral', 'contradiction', '-'),
        'MNLI/dev_matched.tsv': rows('neutral'),
        'MNLI/dev_mismatched.tsv': rows('contradiction', 'contradiction'),
      }),
    });
    const { steps } = await prepareDataset(mnli, given());
    expect(Object.fromEntries(steps.map(({ key, counts }) => [key, counts]))).toEqual({
      train: { samples: 3, unlabelled: 1 },
      valid: { samples: 1 },
      'valid-mismatched': { samples: 2 },
    });
    const lengths = [];
    for (const options of [{}, { splits: ['train', 'valid-mismatched'] }]) {
      const source = await open('glue-mnli', 'valid', options);
      lengths.push(source.length);
      await source.close?.();
    }
    expect(lengths).toEqual([1, 2]);
  });

  it('keeps the scores of STS-B, and names what is no score', async () => {
    const header = ['index', 'genre', 'sentence1', 'sentence2', 'score'];
    const copy = (score: string) =>
      copyOf('stsb', {
        'STS-B.zip': zip({
          'STS-B/train.tsv': table(header, ['0', 'news', 'a plane', 'an aeroplane', score]),
          'STS-B/dev.tsv': table(header, ['0', 'news', 'a', 'b', '0.000']),
        }),
      });
    const { folder } = await prepareDataset(copy('4.600'), given());
    expect(records(folder, 'train')).toEqual([
      { text: 'a plane', pair: 'an aeroplane', label: '5', score: 4.6, id: 2 },
    ]);
    cacheDir = mkdtempSync(join(root, 'cache-'));
    await expect(prepareDataset(copy('high'), given())).rejects.toThrow(
      'STS-B/train.tsv:2: "high" is not a score',
    );
  });

  it('names what is wrong with other tasks: labels, files', async () => {
    const header = ['id', 'qid1', 'qid2', 'question1', 'question2', 'is_duplicate'];
    const bad = copyOf('qqp', {
      'QQP-clean.zip': zip({
        'QQP/train.tsv': table(header, ['0', '1', '2', 'a', 'b', '7']),
        'QQP/dev.tsv': '',
      }),
    });
    await expect(prepareDataset(bad, given())).rejects.toThrow(
      'QQP/train.tsv:2: "7" is none of the labels 0, 1 that are expected',
    );
    const empty = copyOf('rte', { 'RTE.zip': zip({ 'RTE/dev.tsv': '' }) });
    await expect(prepareDataset(empty, given())).rejects.toThrow(/RTE\.zip does not hold RTE\/train\.tsv/);
    await expect(openDataset(empty, { cacheDir })).rejects.toThrow('d2v data prepare glue-rte');
  });
});
