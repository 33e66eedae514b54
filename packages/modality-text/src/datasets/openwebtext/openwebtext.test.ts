import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import {
  type DataConfig,
  type DatasetOptions,
  Philox,
  prepareDataset,
  type ReadyDataset,
  resolveConfig,
  verifyDataset,
} from '@d2v/core';
import { FaultServer, makeTar } from '@d2v/core/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { TextDataConfig } from '../../data-config.js';
import text from '../../index.js';
import { EOS } from '../../special-tokens.js';
import { makeTokenizer, tokenizerFiles } from '../../tokenizer/open.js';
import { learnMerges, WordCounter } from '../../tokenizer/train.js';
import { writeTokenizerJson } from '../../tokenizer/write-json.js';
import {
  archiveFile,
  documentOf,
  documentTar,
  ODD_DOCUMENTS,
  PER_ARCHIVE,
  serveHub,
  webTextArchive,
  webTextParquet,
  xz,
} from './__fixtures__/web-text.js';
import { cleanDocument, isHeldOut } from './clean.js';
import { openWebTextWith } from './index.js';

const ARCHIVES = 12;
const SHARE = 0.2;
const root = mkdtempSync(join(tmpdir(), 'd2v-openwebtext-'));
afterAll(() => rmSync(root, { recursive: true }));

let archive: Buffer;
beforeAll(async () => {
  archive = await webTextArchive(ARCHIVES);
});

let server: FaultServer;
let cacheDir: string;
let said: string[];
beforeEach(async () => {
  server = await FaultServer.start();
  server.serve('/openwebtext.tar.xz', archive);
  cacheDir = mkdtempSync(join(root, 'cache-'));
  said = [];
});
afterEach(() => server.close());

const published = () => openWebTextWith(archiveFile(archive));
const given = (more: DatasetOptions = {}, options: object = {}): DatasetOptions => ({
  cacheDir,
  mirror: server.url(''),
  acceptTerms: true,
  backoffScale: 0.01,
  threads: 2,
  options: { valid_share: SHARE, ...options },
  on: (event) => {
    if (event.type !== 'progress') said.push(event.message);
  },
  ...more,
});
const shas = ({ steps }: ReadyDataset) =>
  Object.fromEntries(steps.flatMap(({ files }) => files.map(({ name, sha256 }) => [name, sha256])));
const sum = ({ steps }: ReadyDataset, key: string) =>
  steps.reduce((total, { counts }) => total + (counts[key] ?? 0), 0);

const tokenizer = makeTokenizer(tokenizerFiles('gpt2'), 'gpt2');
const openPart = (split: 'train' | 'valid', changes: object = {}) => {
  const data = resolveConfig({ modality: text, preset: 'tiny', set: ['data.dataset=openwebtext'] })
    .data as TextDataConfig & DataConfig;
  return text.openData(
    { ...data, dataset_options: { valid_share: SHARE }, tokens_per_sample: 64, ...changes },
    { split, cacheDir, log: () => undefined, offline: true },
  );
};
/** The file of a tokenizer with 300 entries. */
function smallTokenizer(): string {
  const file = join(root, 'tokenizer.json');
  const counter = new WordCounter();
  for (let i = 0; i < 20; i++) counter.add(documentOf(i));
  writeFileSync(file, writeTokenizerJson(learnMerges(counter.entries(), { vocabSize: 300 })));
  return file;
}

/** All tokens of a part, with one block per document. */
async function documentsOf(split: 'train' | 'valid', changes: object = {}): Promise<string[]> {
  const source = await openPart(split, {
    sample_break_mode: 'complete_doc',
    tokens_per_sample: 4096,
    ...changes,
  });
  const found: string[] = [];
  for (let i = 0; i < source.length; i++) {
    const { data } = (await source.get(i, new Philox(1), 'eval')).tensors.source!;
    const lines: number[][] = [[]];
    for (const id of data.subarray(1)) id === EOS ? lines.push([]) : lines.at(-1)!.push(id);
    found.push(
      lines
        .slice(0, -1)
        .map((ids) => tokenizer.decode(ids))
        .join('\n'),
    );
  }
  await source.close?.();
  return found;
}
const expected = () => [
  ...Array.from({ length: ARCHIVES * PER_ARCHIVE }, (_, i) => cleanDocument(documentOf(i))!),
  'one\ntwo\nthree',
  'marked',
  'caf\ufffd latin',
];

describe('cleanDocument', () => {
  it('keeps lines that hold something', () => {
    expect(ODD_DOCUMENTS.map((bytes) => cleanDocument(bytes))).toEqual([
      'one\ntwo\nthree',
      'marked',
      'caf\ufffd latin',
      null,
      '',
    ]);
    expect(cleanDocument('a\rb\u2028c\n\n\u00a0\nd')).toBe('a\nb\u2028c\nd');
  });

  it('takes linear time for any white space', () => {
    expect(cleanDocument(`a${' '.repeat(3e6)}b${'\r'.repeat(3e6)}c`)).toBe(`a${' '.repeat(3e6)}b\nc`);
  });
});

describe('openwebtext', () => {
  it('is downloaded, encoded, verified and opened', async () => {
    const ready = await prepareDataset(published(), given());
    expect(sum(ready, 'documents')).toBe(expected().length);
    expect(sum(ready, 'empty_documents')).toBe(1);
    expect(sum(ready, 'binary_documents')).toBe(1);
    expect(sum(ready, 'replaced_documents')).toBe(1);
    expect(said.join('\n')).toMatch(/encoded 303 documents, .* MB\/s, .* documents\/s, 2 threads \d+ % busy/);
    expect(said.join('\n')).toContain('1 documents hold bytes that are no UTF-8');
    const report = await verifyDataset(published(), given());
    expect(report.problems).toEqual([]);
    const whole = expected();
    expect(await documentsOf('train')).toEqual(whole.filter((one) => !isHeldOut(one, SHARE)));
    expect(await documentsOf('valid')).toEqual(whole.filter((one) => isHeldOut(one, SHARE)));
    const train = await openPart('train');
    expect(train.length).toBeGreaterThan(200);
    expect(train.describe(0)).toBe('openwebtext/urlsf_subset00-1_data.xz:1');
    expect(Object.keys(train.assets!())).toEqual(['encoder.json', 'vocab.bpe']);
    await train.close?.();
  });

  it('gives the same bytes on any number of threads, interrupted or not', { timeout: 90_000 }, async () => {
    // More than one shard holds.
    const large = await webTextArchive(300, 2);
    const dataset = openWebTextWith(archiveFile(large));
    server.serve('/openwebtext.tar.xz', large);
    const ready = await prepareDataset(dataset, given({ threads: 1 }));
    expect(ready.steps.map(({ key, counts }) => [key, counts.documents])).toEqual([
      ['shards/00000', 512],
      ['shards/00001', 91],
      ['tokenizer', undefined],
    ]);
    cacheDir = mkdtempSync(join(root, 'cache-'));
    const stop = new AbortController();
    const interrupted = prepareDataset(
      dataset,
      given({
        threads: 3,
        signal: stop.signal,
        on: (event) => {
          if (event.type === 'progress' && event.phase === 'prepare' && event.done > 520) stop.abort();
        },
      }),
    );
    await expect(interrupted).rejects.toThrow(/abort/i);
    server.serve('/openwebtext.tar.xz', 'gone');
    said = [];
    const resumed = await prepareDataset(dataset, given({ threads: 3 }));
    expect(shas(resumed)).toEqual(shas(ready));
    expect(said.join('\n')).toContain('encoded 91 documents');
  });

  it('survives what happens to downloads', async () => {
    server.fault('/openwebtext.tar.xz', { kind: 'cut', at: 700, times: 1 });
    server.fault('/openwebtext.tar.xz', { kind: 'status', status: 503, retryAfter: 0, times: 1 });
    expect(sum(await prepareDataset(published(), given()), 'documents')).toBe(expected().length);
  });

  it('comes from the hub in parquet, as much of it as is wanted', async () => {
    serveHub(server, 3, 40);
    const ready = await prepareDataset(published(), given({}, { source: 'hub', parts: 2 }));
    expect(ready.steps.map(({ key }) => key)).toEqual(['shards/00000', 'shards/00001', 'tokenizer']);
    const cleaned = Array.from({ length: 80 }, (_, i) => cleanDocument(documentOf(i))!);
    const options = { dataset_options: { source: 'hub', parts: 2, valid_share: SHARE } };
    expect(await documentsOf('train', options)).toEqual(cleaned.filter((one) => !isHeldOut(one, SHARE)));
    expect(server.requests.filter(({ path }) => path.includes('00002'))).toEqual([]);
  });

  it('shows and records no credentials of a mirror of the hub', async () => {
    const mirror = server.url('/?token=secret').replace('http://', 'http://me:secret@');
    const settings = given({ mirror }, { source: 'hub', parts: 1 });
    for (const answer of ['<html>', '[]']) {
      server.serve('/api/datasets/Skylion007/openwebtext/tree/main/plain_text', answer);
      const error = await prepareDataset(published(), settings).catch((e: Error) => e);
      expect(String(error)).toMatch(/not the hub's list of files|lists no parquet files/);
      expect(String(error)).not.toContain('secret');
    }
    serveHub(server, 1, 40);
    await prepareDataset(published(), settings);
    const records = readdirSync(cacheDir, { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith('dataset.json'),
    );
    expect(records).toHaveLength(1);
    expect(readFileSync(join(cacheDir, records[0]!), 'utf8')).not.toContain('secret');
    expect(said.join()).not.toContain('secret');
  });

  it('comes from a folder that has it already, unpacked or not', async () => {
    const offline = { offline: true, mirror: undefined };
    const folder = mkdtempSync(join(root, 'from-'));
    writeFileSync(join(folder, 'openwebtext.tar.xz'), archive);
    const packed = await prepareDataset(published(), given({ ...offline, from: folder }));
    expect(sum(packed, 'documents')).toBe(expected().length);
    cacheDir = mkdtempSync(join(root, 'cache-'));
    const tree = mkdtempSync(join(root, 'tree-'));
    mkdirSync(join(tree, 'openwebtext'));
    const content = await xz(documentTar('x', [documentOf(1), documentOf(2)]));
    writeFileSync(join(tree, 'openwebtext', 'urlsf_subset00-1_data.xz'), content);
    const unpacked = await prepareDataset(published(), given({ ...offline, from: tree }));
    expect(sum(unpacked, 'documents')).toBe(2);
  });

  it('refuses hostile archives, naming archive and entry', async () => {
    // Each of them starts a thread, which would build the tables of GPT-2's tokenizer only to be closed.
    const tokenizer = smallTokenizer();
    const inner = (tar: Buffer) => xz(tar);
    const outer = async (content: Buffer, path = 'openwebtext/urlsf_subset00-1_data.xz') =>
      xz(makeTar([{ path, content }]));
    for (const [bytes, message] of [
      [
        await outer(Buffer.from('x'), '../urlsf_subset00-1_data.xz'),
        /openwebtext\.tar\.xz.*"\.\.\/urlsf.*leads out/,
      ],
      [
        await outer(await inner(makeTar([{ path: '/etc/a.txt', content: 'x' }]))),
        /urlsf_subset00-1_data\.xz: the entry "\/etc\/a\.txt" has an absolute path/,
      ],
      [
        await outer(await inner(makeTar([{ path: 'a.txt', type: 'SymbolicLink', linkpath: '/etc/passwd' }]))),
        /urlsf_subset00-1_data\.xz: the entry "a\.txt" is a link to "\/etc\/passwd"/,
      ],
      [await outer(gzipSync(Buffer.alloc(80 << 20))), /urlsf_subset00-1_data\.xz: .* times as many/],
      [
        await outer((await inner(documentTar('x', ['text']))).subarray(0, 40)),
        /urlsf_subset00-1_data\.xz: .*(cut off|damaged)/,
      ],
      [await xz(makeTar([{ path: 'openwebtext/readme', content: 'x' }])), /holds no archives of documents/],
    ] as const) {
      cacheDir = mkdtempSync(join(root, 'cache-'));
      server.serve('/openwebtext.tar.xz', bytes);
      const work = prepareDataset(openWebTextWith(archiveFile(bytes)), given({ threads: 1 }, { tokenizer }));
      await expect(work).rejects.toThrow(message);
    }
  });

  it('names a parquet file that has no text', async () => {
    const folder = mkdtempSync(join(root, 'from-'));
    writeFileSync(join(folder, 'a.parquet'), webTextParquet(['x'], 1).subarray(0, 60));
    await expect(prepareDataset(published(), given({ from: folder }))).rejects.toThrow(/a\.parquet/);
  });

  it('keeps the tokenizer it was made with', async () => {
    await prepareDataset(published(), given());
    await expect(openPart('train', { vocab_size: 300 })).rejects.toThrow(
      /has 50262 entries, data\.vocab_size is 300/,
    );
    const file = smallTokenizer();
    await expect(openPart('train', { tokenizer: file })).rejects.toThrow(
      /prepared with another tokenizer than data\.tokenizer/,
    );
    const set = ['data.dataset=openwebtext', `data.tokenizer=${file}`];
    const { data, model: settings } = resolveConfig({ modality: text, preset: 'tiny', set });
    expect(data.dataset_options).toEqual({ tokenizer: file });
    expect(settings.modalities.text).toMatchObject({ vocab_size: 300 });
  });

  it('keeps lists of blocks apart from what is verified', async () => {
    const ready = await prepareDataset(published(), given());
    await (await openPart('train')).close?.();
    expect((await verifyDataset(published(), given())).problems).toEqual([]);
    const tokens = ready.steps
      .flatMap(({ files }) => files)
      .find(({ name }) => name.endsWith('train.tokens'))!;
    const digest = createHash('sha256')
      .update(readFileSync(join(ready.folder, tokens.name)))
      .digest('hex');
    expect(digest).toBe(tokens.sha256);
  });
});
