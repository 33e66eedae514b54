/** OpenWebText: web pages that Reddit users have recommended, an open copy of what GPT-2 was trained on. */
import { type DatasetFile, defineDataset, type ManagedDataset } from '@d2v/core';
import { type OpenWebTextOptions, openWebTextOptions } from './options.js';
import { prepareOpenWebText } from './prepare.js';
import { findTree, hubFiles, PUBLISHED_ARCHIVE } from './published.js';

/** Tokens take two bytes each, items of paragraphs about a quarter of that: 23 GB for the archive's 12.9. */
const PREPARED_PER_BYTE = 1.8;
/** The same of one of the hub's 80 files (`train-00000-of-00080.parquet` and so on, some 300 MB each). */
const PREPARED_PER_PART = 0.29e9;
const PARTS = 80;

/** The dataset with another archive in place of the published one: for tests. */
export function openWebTextWith(archive: DatasetFile): ManagedDataset<OpenWebTextOptions> {
  return defineDataset({
    name: 'openwebtext',
    version: 1,
    description: 'OpenWebText: 8 million web pages (38 GB of English text), as token shards',
    license: 'collection: CC0 1.0; texts: their authors',
    size: '8 013 769 documents, 12.9 GB download (hub: 24 GB), about 23 GB prepared',
    homepage: 'https://skylion007.github.io/OpenWebTextCorpus/',
    terms: [
      'OpenWebText Corpus. The collection is released under CC0 1.0; its makers do not own the texts, which remain',
      "their authors': see the homepage on how to have a page taken out.",
      'Cite: Gokaslan, A., Cohen, V., Pavlick, E., Tellex, S.: OpenWebText Corpus, 2019,',
      'http://Skylion007.github.io/OpenWebTextCorpus',
    ].join('\n'),
    options: openWebTextOptions,
    async files({ options, from, mirror, fetchText }) {
      if (from !== null && (await findTree(from))) return [];
      return options.source === 'hub' ? hubFiles({ mirror, fetchText }, options.parts) : [archive];
    },
    inputs: async (from) => (await findTree(from))?.paths ?? [],
    preparedBytes: ({ source, parts }) =>
      source === 'hub' ? PREPARED_PER_PART * (parts ?? PARTS) : PREPARED_PER_BYTE * (archive.bytes ?? 0),
    prepare: prepareOpenWebText,
  });
}

export const openwebtext = openWebTextWith(PUBLISHED_ARCHIVE);
