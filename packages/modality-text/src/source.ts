/** Prepared text as samples of tokens. */
import { type Assets, D2vError, type DataSource, type Sample } from '@d2v/core';
import type { BreakMode } from './data-config.js';
import type { Shard } from './shards/shard.js';
import { BOS } from './special-tokens.js';

export interface TextSourceOptions {
  name: string;
  license?: string;
  /** Parts one after the other. */
  shards: readonly Shard[];
  /** The tokenizer's files. */
  assets: Assets;
  mode: BreakMode;
  /** Use only so many samples; 0 = all. */
  limit: number;
}

/** Samples of prepared text: `source` i32 [T], `<s>` first. */
export function textSource(options: TextSourceOptions): DataSource {
  const { name, license, shards, assets, mode, limit } = options;
  const total = shards.reduce((sum, shard) => sum + shard.length, 0);
  const length = limit > 0 ? Math.min(limit, total) : total;
  // A block of several documents has no class.
  const labelled = mode === 'eos' || mode === 'complete_doc';
  const { classes } = shards[0]!.prepared.meta;
  const sorted = [...classes].sort();
  const number = new Map(classes.map((className, raw) => [raw, sorted.indexOf(className)]));
  const place = (index: number) => {
    let at = index;
    for (const shard of shards) {
      if (at < shard.length) return { shard, block: shard.block(at) };
      at -= shard.length;
    }
    throw new D2vError(`${name} has ${length} samples, there is no number ${index}`);
  };
  const label = (index: number) => {
    const { shard, block } = place(index);
    return number.get(shard.item(block.item).label) ?? -1;
  };
  return {
    length,
    name,
    ...(license && { license }),
    ...(labelled && sorted.length > 0 && { classes: sorted, label }),
    async get(index): Promise<Sample> {
      const { shard, block } = place(index);
      const data = shard.tokensOf(block, BOS);
      const tensors = { source: { data, shape: [data.length] } };
      const raw = labelled && sorted.length > 0 ? shard.item(block.item).label : -1;
      return { tensors, ...(raw >= 0 && { label: number.get(raw)! }), id: index };
    },
    describe(index) {
      const { shard, block } = place(index);
      const { file, line } = shard.item(block.item);
      return `${shard.prepared.meta.files[file]}:${line}`;
    },
    sizes() {
      const sizes = new Float64Array(length);
      let at = 0;
      for (const shard of shards) {
        for (const size of shard.lengths()) if (at < length) sizes[at++] = size + 1;
      }
      return sizes;
    },
    assets: () => assets,
    async close() {
      for (const shard of shards) shard.close();
    },
  };
}
