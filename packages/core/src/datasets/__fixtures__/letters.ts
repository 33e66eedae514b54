/**
 * A small dataset with everything that large ones have: two splits, an archive of archives, one compressed with xz or gzip by
 * options, labels, steps, tar shards. Also started in child processes by tests that kill it.
 */
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { z } from 'zod';
import { readTar } from '../archives/tar.js';
import { defineDataset } from '../define.js';
import { ShardWriter } from '../shards/writer.js';
import type { ManagedDataset } from '../types.js';
import { makeTar } from './archives.js';

export const CLASSES = ['alpha', 'beta', 'gamma'];
const PER_CLASS = 40;

/** Content of a sample, the same in every process. */
export const letterOf = (split: string, className: string, i: number): Buffer =>
  Buffer.from(`${split} ${className} ${i} `.repeat(50 + ((i * 37) % 400)));

const classTar = (split: string, className: string) =>
  makeTar(
    Array.from({ length: PER_CLASS }, (_, i) => ({
      path: `${className}_${i}.txt`,
      content: letterOf(split, className, i),
    })),
  );

/** The published archives by name: a tar of class tars, and a tar.gz of them. */
export const ARCHIVES: Record<string, Buffer> = Object.fromEntries(
  ['train', 'valid'].map((split) => {
    const nested = makeTar(
      CLASSES.map((name) => ({ path: `./${split}/${name}.tar`, content: classTar(split, name) })),
    );
    return split === 'train' ? ['train.tar', nested] : ['valid.tar.gz', gzipSync(nested)];
  }),
);

const ARCHIVE_OF: Record<string, string> = { train: 'train.tar', valid: 'valid.tar.gz' };

export const letters: ManagedDataset<{ upper: boolean; pause_ms: number }> = defineDataset({
  name: 'letters',
  version: 1,
  description: 'letters for tests',
  license: 'CC0',
  size: '240 texts',
  terms: 'For tests only.',
  options: z.strictObject({
    upper: z.boolean().default(false).describe('capital letters'),
    pause_ms: z.number().default(0).describe('slows the preparation down'),
  }),
  splits: { train: { description: '120 texts' }, valid: { description: '120 texts' } },
  files: ({ splits }) =>
    splits.map((split) => {
      const name = ARCHIVE_OF[split]!;
      const content = ARCHIVES[name]!;
      return {
        name,
        urls: [`https://letters.invalid/${name}`],
        bytes: content.length,
        checksums: { md5: createHash('md5').update(content).digest('hex') },
      };
    }),
  async prepare({ splits, options, raw, step, progress, signal }) {
    for (const split of splits) {
      const archive = raw(ARCHIVE_OF[split]!);
      for (const [label, className] of CLASSES.entries()) {
        await step(`${split}/${className}`, async (output) => {
          const shard = await ShardWriter.create(output, `${split}-${className}.tar`);
          for await (const inner of readTar(archive)) {
            if (inner.name !== `${split}/${className}.tar`) continue;
            for await (const entry of readTar(inner.body(), { archive: inner.name })) {
              signal.throwIfAborted();
              const text = (await entry.read()).toString();
              const txt = Buffer.from(options.upper ? text.toUpperCase() : text);
              await shard.add({ key: entry.name.replace(/\.txt$/, ''), files: { txt }, label });
              progress(className, shard.count, PER_CLASS, 'texts');
              if (options.pause_ms > 0) await new Promise((resolve) => setTimeout(resolve, options.pause_ms));
            }
          }
          return shard.finish();
        });
      }
    }
  },
});
