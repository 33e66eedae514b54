/** Opening prepared OpenWebText: its token shards as they are. */
import { createHash } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import {
  type Assets,
  D2vError,
  type DataConfig,
  type DataSource,
  makeFolder,
  type OpenDataOptions,
  openDataset,
} from '@d2v/core';
import type { TextDataConfig } from '../../data-config.js';
import { hashOf, type Prepared, readPrepared } from '../../shards/prepare.js';
import { Shard } from '../../shards/shard.js';
import { textSource } from '../../source.js';
import { tokenizerFiles, vocabSizeOf } from '../../tokenizer/open.js';
import { openwebtext } from './index.js';
import { readAssets, SHARD_STEP, TOKENIZER_FOLDER } from './prepare.js';

type Settings = TextDataConfig & DataConfig;

/**
 * Opens a part of the dataset. Lists of blocks are made when a length of samples is first asked for, and kept in the cache.
 * @throws D2vError if it is not prepared, or with another tokenizer than is asked for
 */
export async function openOpenWebText(data: Settings, options: OpenDataOptions): Promise<DataSource> {
  const { cacheDir, split } = options;
  const ready = await openDataset(openwebtext, { cacheDir, options: data.dataset_options });
  const files = ready.steps.flatMap((step) => step.files.map(({ name }) => name));
  const assets = await readAssets(
    join(ready.folder, TOKENIZER_FOLDER),
    files.filter((name) => dirname(name) === TOKENIZER_FOLDER).map((name) => basename(name)),
  );
  checkTokenizer(assets, data, options);
  const mode = data.sample_break_mode ?? 'none';
  const parts = split === 'all' ? (['train', 'valid'] as const) : [split];
  const shards: Shard[] = [];
  try {
    for (const { key, files: made } of ready.steps) {
      const name = SHARD_STEP.exec(key)?.[1];
      if (name === undefined) continue;
      const blocksFolder = join(cacheDir, 'text', `blocks-${hashOf(made.map(({ sha256 }) => sha256))}`);
      const prepared = await openShardFolder(join(ready.folder, name), blocksFolder);
      for (const part of parts) {
        if (prepared.meta.parts[part].items === 0) continue;
        shards.push(new Shard(prepared, part, mode, data.tokens_per_sample - 1));
      }
    }
  } catch (error) {
    for (const shard of shards) shard.close();
    throw error;
  }
  if (shards.length === 0) {
    throw new D2vError(
      `openwebtext: none of its documents falls into the ${split} part: prepare it with another --valid-share`,
    );
  }
  const limit = split === 'train' ? data.limit : 0;
  const { name, license } = openwebtext;
  return textSource({ name, license, shards, assets, mode, limit });
}

async function openShardFolder(folder: string, blocksFolder: string): Promise<Prepared> {
  const prepared = await readPrepared(folder);
  if (!prepared) throw new D2vError(`${folder} is gone: run d2v data prepare openwebtext`);
  await makeFolder(blocksFolder);
  return { ...prepared, blocksFolder };
}

/** Token numbers mean nothing to a model with another tokenizer. */
function checkTokenizer(
  prepared: Assets,
  { tokenizer, vocab_size }: Settings,
  { assets }: OpenDataOptions,
): void {
  const wanted = assets ?? (tokenizer === null ? null : tokenizerFiles(tokenizer));
  if (wanted && digestOf(wanted) !== digestOf(prepared)) {
    const whose = assets ? "the model's" : `data.tokenizer=${tokenizer}`;
    throw new D2vError(
      `openwebtext is prepared with another tokenizer than ${whose}: prepare it with --tokenizer, or choose by data.dataset_options.tokenizer`,
    );
  }
  const size = vocabSizeOf(prepared, 'the tokenizer of openwebtext');
  if (size > vocab_size) {
    throw new D2vError(
      `the tokenizer of openwebtext has ${size} entries, data.vocab_size is ${vocab_size}: leave it out, it follows from the tokenizer`,
    );
  }
}

function digestOf(files: Assets): string {
  const hash = createHash('sha256');
  for (const name of Object.keys(files).sort()) hash.update(`${name}\n`).update(files[name]!);
  return hash.digest('hex');
}
