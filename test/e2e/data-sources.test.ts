/** Datasets prepared from an extracted tree (`--from`): the same tree elsewhere is the same source, another one is refused. */
import { appendFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type ManagedDataset, prepareDataset } from '@d2v/core';
import type { TarFile } from '@d2v/core/testing';
import { librispeechWith, speechCommandsWith } from '@d2v/modality-audio';
import { imagenetWith } from '@d2v/modality-image';
import { openWebTextWith } from '@d2v/modality-text';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  librispeechFiles,
  speechCommandsFiles,
} from '../../packages/modality-audio/src/datasets/__fixtures__/corpora.js';
import {
  classFiles,
  makeHub,
  WNIDS,
} from '../../packages/modality-image/src/datasets/__fixtures__/imagenet.js';
import {
  documentOf,
  documentTar,
  webTextParquet,
  xz,
} from '../../packages/modality-text/src/datasets/openwebtext/__fixtures__/web-text.js';

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'd2v-sources-'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

interface Case {
  name: string;
  dataset: ManagedDataset;
  options?: Record<string, unknown>;
  tree: () => Promise<readonly TarFile[]>;
}

// Nothing is downloaded: what is published is never looked at.
const published = { bytes: 1, md5: '0'.repeat(32) };
const stated = { bytes: 1, checksums: { md5: published.md5 } };
const imagenet = imagenetWith({ train: published, valid: published, devkit: published });
const openwebtext = openWebTextWith({ name: 'openwebtext.tar.xz', urls: [], ...stated });

const CASES: Case[] = [
  {
    name: 'imagenet, folders of classes',
    dataset: imagenet,
    options: { splits: ['train'] },
    async tree() {
      const classes = await Promise.all(WNIDS.map((_, label) => classFiles(label)));
      return classes.flatMap((files, label) =>
        files.map((file) => ({ ...file, path: `train/${WNIDS[label]}/${file.path}` })),
      );
    },
  },
  {
    name: 'imagenet, parquet files',
    dataset: imagenet,
    options: { splits: ['train'], source: 'hub' },
    async tree() {
      const files = Object.entries(await makeHub()).filter(([path]) => path.endsWith('.parquet'));
      return files.map(([path, content]) => ({ path: path.slice(path.lastIndexOf('/') + 1), content }));
    },
  },
  {
    name: 'librispeech',
    dataset: librispeechWith({ 'dev-clean': { ...stated, description: 'for tests' } }),
    options: { splits: ['dev-clean'] },
    tree: async () => librispeechFiles('dev-clean'),
  },
  {
    name: 'speech-commands',
    dataset: speechCommandsWith(stated),
    tree: async () => speechCommandsFiles(),
  },
  {
    name: 'openwebtext, archives',
    dataset: openwebtext,
    tree: async () => [
      {
        path: 'openwebtext/urlsf_subset00-1_data.xz',
        content: await xz(documentTar('x', [documentOf(1), documentOf(2)])),
      },
    ],
  },
  {
    name: 'openwebtext, parquet files',
    dataset: openwebtext,
    options: { source: 'hub' },
    tree: async () => [{ path: 'a.parquet', content: webTextParquet([documentOf(1), documentOf(2)], 1) }],
  },
];

describe('an extracted tree', () => {
  it.each(CASES)('of $name', async ({ dataset, options, tree }) => {
    const folder = mkdtempSync(join(root, 'case-'));
    const files = (await tree()).filter(({ type }) => type !== 'Directory');
    const [first, moved, other] = ['first', 'moved', 'other'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    for (const { path, content = '' } of files) {
      mkdirSync(dirname(join(first, path)), { recursive: true });
      writeFileSync(join(first, path), content);
    }
    for (const copy of [moved, other]) cpSync(first, copy, { recursive: true });
    const changed = files.find(({ path }) => /\.(JPEG|parquet|flac|wav|xz)$/.test(path))!;
    appendFileSync(join(other, changed.path), 'x');

    const prepare = (from: string) =>
      prepareDataset(dataset, {
        from,
        options,
        cacheDir: join(folder, 'cache'),
        offline: true,
        acceptTerms: true,
        threads: 1,
      });
    const ready = await prepare(first);
    expect(ready.steps.length).toBeGreaterThan(0);
    expect(await prepare(moved)).toEqual(ready);
    const error = await prepare(other).catch(String);
    expect(error).toContain(`was prepared from the folder ${first}, not from the folder ${other}`);
    expect(error).toContain(`use --from ${first}`);
  });
});
