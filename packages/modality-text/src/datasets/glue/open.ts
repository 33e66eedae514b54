/** Opening a prepared task of GLUE. */
import { join } from 'node:path';
import { D2vError, type DataConfig, type OpenDataOptions, openDataset } from '@d2v/core';
import { findText } from '../../corpus/files.js';
import type { TextDataConfig } from '../../data-config.js';
import type { Corpus } from '../../shards/prepare.js';
import type { GlueDataset } from './index.js';
import { splitFile } from './prepare.js';

/**
 * Its training and dev part as text with classes. Of several dev parts (MNLI), the first that was chosen by
 * `data.dataset_options.splits` is taken.
 * @throws D2vError if it is not prepared
 */
export async function glueCorpus(
  dataset: GlueDataset,
  data: TextDataConfig & DataConfig,
  { cacheDir }: Pick<OpenDataOptions, 'cacheDir'>,
): Promise<Corpus> {
  const { folder, splits } = await openDataset(dataset, { cacheDir, options: data.dataset_options });
  const valid = splits.find((split) => split.startsWith('valid'));
  const named = (split: string) => findText(join(folder, splitFile(split)));
  if (!splits.includes('train') && valid === undefined) {
    throw new D2vError(`${dataset.name}: ${splits.join(', ')} has no labels: name the splits train or valid`);
  }
  return {
    name: dataset.name,
    files: splits.includes('train') ? await named('train') : [],
    validFiles: valid === undefined ? null : await named(valid),
    validShare: data.valid_share,
    maxBadShare: data.max_bad_share,
    options: {
      item: 'line',
      field: 'text',
      pair_field: dataset.paired ? 'pair' : null,
      label_field: 'label',
      label: 'none',
    },
  };
}
