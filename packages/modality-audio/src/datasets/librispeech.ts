/** LibriSpeech: 1000 hours of English read from books of LibriVox, by 2484 speakers, with what they say. */
import { join } from 'node:path';
import {
  type Checksums,
  D2vError,
  type DatasetFile,
  defineDataset,
  isHeldOut,
  type ManagedDataset,
  mapConcurrent,
  z,
} from '@d2v/core';
import { prepareSplit, splitFolder, writeVocabulary } from './librispeech-prepare.js';
import type { ManagedAudio } from './managed.js';
import { SHARD_COUNTS } from './sounds/shards.js';

/** What is published of a split: size in bytes, MD5, and in words what it holds. */
export interface PublishedSplit {
  bytes: number;
  checksums: Checksums;
  description: string;
  /** Whether it is taken where no splits are named. */
  default?: boolean;
}

const URL = 'https://www.openslr.org/resources/12/';
const MIRROR = 'https://us.openslr.org/resources/12/';

const split = (bytes: number, md5: string, description: string, taken = false): PublishedSplit => ({
  bytes,
  checksums: { md5 },
  description,
  default: taken,
});

/**
 * MD5s as openslr.org/resources/12/md5sum.txt has them, which several public programs repeat; sizes as TensorFlow Datasets records
 * them (url_checksums/librispeech.txt).
 */
const PUBLISHED: Record<string, PublishedSplit> = {
  'train-clean-100': split(
    6_387_309_499,
    '2a93770f6d5c6c964bc36631d331a522',
    '100 hours, 251 speakers',
    true,
  ),
  'train-clean-360': split(23_049_477_885, 'c0e676e450a7ff2f54aeade5171606fa', '360 hours, 921 speakers'),
  'train-other-500': split(
    30_593_501_606,
    'd1a0fd59409feb2c614ce4d30c387708',
    '500 hours, 1166 speakers, harder to recognise',
  ),
  'dev-clean': split(337_926_286, '42e2234ba48799c1f50f24a7926300a1', '5 hours, 40 speakers', true),
  'dev-other': split(314_305_928, 'c8d0bcc9cca99d4f8b62fcc847357931', '5 hours, 33 speakers, harder'),
  'test-clean': split(346_663_984, '32fa31d27d2e1cad72775fee3f4849a9', '5 hours, 40 speakers'),
  'test-other': split(328_757_843, 'fb5a50374b501bb3bac4815ee91d3135', '5 hours, 33 speakers, harder'),
};

const archiveOf = (name: string) => `${name}.tar.gz`;

/** The dataset with other archives than the published ones. @param shardBytes about what a shard holds */
export function librispeechWith(
  published: Readonly<Record<string, PublishedSplit>>,
  shardBytes?: number,
): ManagedDataset<Record<string, never>> {
  return defineDataset({
    name: 'librispeech',
    version: 1,
    description: 'English read aloud, 16 kHz, with transcripts and speakers',
    license: 'CC-BY-4.0',
    size: '960 hours for training in 3 parts (7, 23, 31 GB), 4 parts of 5 hours for tests (0.3 GB each)',
    homepage: 'https://www.openslr.org/12',
    terms: `LibriSpeech is published under CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/).
Cite: V. Panayotov, G. Chen, D. Povey, S. Khudanpur: "LibriSpeech: an ASR corpus based on public domain audio books", ICASSP 2015.`,
    options: z.strictObject({}),
    internalCounts: SHARD_COUNTS,
    splits: Object.fromEntries(
      Object.entries(published).map(([name, { description, default: taken }]) => [
        name,
        { description, default: taken },
      ]),
    ),
    async files({ splits, from }) {
      const files: DatasetFile[] = [];
      for (const name of splits) {
        if (from !== null && (await splitFolder(from, name))) continue;
        const { bytes, checksums } = published[name]!;
        const file = archiveOf(name);
        files.push({ name: file, urls: [URL + file, MIRROR + file], bytes, checksums, splits: [name] });
      }
      return files;
    },
    async inputs(from, name) {
      const folder = await splitFolder(from, name);
      return folder === null ? [] : [join(folder, name)];
    },
    // FLAC hardly shrinks by gzip.
    preparedBytes: (_, splits) => splits.reduce((sum, name) => sum + published[name]!.bytes, 0),
    async prepare(ctx) {
      const sources = await Promise.all(
        ctx.splits.map(async (name) => {
          const archive = ctx.files.find((file) => file.name === archiveOf(name));
          if (archive) return { archive: archive.path };
          const folder = ctx.from && (await splitFolder(ctx.from, name));
          if (folder) return { folder };
          throw new D2vError(`librispeech: there is neither ${archiveOf(name)} nor a folder of ${name}`);
        }),
      );
      // Each archive is one stream: several splits are what can run at once.
      await mapConcurrent(ctx.splits, ctx.threads, (name, i) =>
        prepareSplit(ctx, name, sources[i]!, shardBytes),
      );
      await writeVocabulary(ctx);
    },
  });
}

const isTable = /-\d+\.jsonl$/;

/** How it is opened for training: `train-*` is learned from, `dev-*` is held out, `test-*` is neither. */
export const librispeech: ManagedAudio = {
  dataset: librispeechWith(PUBLISHED),
  suggested: { min_sample_size: 32_000, max_sample_size: 320_000 },
  parts({ splits, steps }, part, { valid_share: share }) {
    const [train, dev] = ['train-', 'dev-'].map((start) => splits.filter((name) => name.startsWith(start)));
    // Without one of the two, speakers are held out: of the training parts, or of whatever there is.
    const divided = train!.length === 0 || dev!.length === 0;
    const source = train!.length > 0 ? train! : splits;
    const chosen = part === 'all' ? splits : part === 'valid' && !divided ? dev! : source;
    const tables = steps
      .filter(({ key }) => chosen.includes(key.split('/')[0]!))
      .flatMap(({ files }) => files.map(({ name }) => name))
      .filter((name) => isTable.test(name));
    if (part === 'all' || !divided) return { tables };
    return { tables, keep: ({ speaker = '' }) => isHeldOut(speaker, share) === (part === 'valid') };
  },
};
