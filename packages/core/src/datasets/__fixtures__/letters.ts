/**
 * A small dataset with everything that large ones have: two splits, an archive of archives, one of them compressed, options,
 * labels, steps, tar shards.
 */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { z } from 'zod';
import { readTar } from '../archives/tar.js';
import { defineDataset } from '../define.js';
import { ShardWriter } from '../shards/writer.js';
import type { ManagedDataset } from '../types.js';
import { makeTar } from './archives.js';

export interface LettersContent {
  classes: readonly string[];
  perClass: number;
  /** Content of a sample, the same in every process. */
  letterOf(split: string, className: string, i: number): Buffer;
}

export interface Letters {
  dataset: ManagedDataset<{ upper: boolean; pause_ms: number }>;
  /** The published archives by name: a tar of class tars, and a tar.gz of them; for a server. */
  archives: Record<string, Buffer>;
}

const SPLITS = ['train', 'valid'] as const;
const ARCHIVE_OF: Record<string, string> = { train: 'train.tar', valid: 'valid.tar.gz' };

/** The dataset with such content. */
export function lettersWith(content: LettersContent): Letters {
  const { classes, perClass } = content;
  const archives = archivesOf(content);
  const texts = classes.length * perClass;
  const dataset = defineDataset({
    name: 'letters',
    version: 1,
    description: 'letters for tests',
    license: 'CC0',
    size: `${2 * texts} texts`,
    terms: 'For tests only.',
    options: z.strictObject({
      upper: z.boolean().default(false).describe('capital letters'),
      pause_ms: z.number().min(0).default(0).describe('time that a text takes'),
    }),
    splits: { train: { description: `${texts} texts` }, valid: { description: `${texts} texts` } },
    files: ({ splits }) =>
      splits.map((split) => {
        const name = ARCHIVE_OF[split]!;
        const bytes = archives[name]!;
        return {
          name,
          urls: [`https://letters.invalid/${name}`],
          bytes: bytes.length,
          checksums: { md5: createHash('md5').update(bytes).digest('hex') },
        };
      }),
    async prepare({ splits, options, raw, step, progress, signal }) {
      for (const split of splits) {
        const archive = raw(ARCHIVE_OF[split]!);
        for (const [label, className] of classes.entries()) {
          await step(`${split}/${className}`, async (output) => {
            const shard = await ShardWriter.create(output, `${split}-${className}.tar`);
            for await (const inner of readTar(archive)) {
              if (inner.name !== `${split}/${className}.tar`) continue;
              for await (const entry of readTar(inner.body(), { archive: inner.name })) {
                signal.throwIfAborted();
                const text = (await entry.read()).toString();
                const txt = Buffer.from(options.upper ? text.toUpperCase() : text);
                await shard.add({ key: entry.name.replace(/\.txt$/, ''), files: { txt }, label });
                progress(`${split} ${className}`, shard.count, perClass, 'texts');
                if (options.pause_ms > 0) await sleep(options.pause_ms);
              }
            }
            return shard.finish();
          });
        }
      }
    },
  });
  return { dataset, archives };
}

function archivesOf({ classes, perClass, letterOf }: LettersContent): Record<string, Buffer> {
  const classTar = (split: string, name: string) =>
    makeTar(
      Array.from({ length: perClass }, (_, i) => ({
        path: `${name}_${i}.txt`,
        content: letterOf(split, name, i),
      })),
    );
  return Object.fromEntries(
    SPLITS.map((split) => {
      const nested = makeTar(
        classes.map((name) => ({ path: `./${split}/${name}.tar`, content: classTar(split, name) })),
      );
      return [ARCHIVE_OF[split]!, split === 'train' ? nested : gzipSync(nested)];
    }),
  );
}
