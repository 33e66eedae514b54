// A modality with one small dataset: nested archives, two splits, steps, shards. What it publishes is made by `archives()`, which
// the tests serve; what it prepares is slow on purpose, so that there is time to kill it.
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { defineDataset, defineModality, readTar, ShardWriter, z } from '@d2v/core';

const CLASSES = ['alpha', 'beta', 'gamma', 'delta'];
const PER_CLASS = 60;

function header(name, size) {
  const block = Buffer.alloc(512);
  block.write(name);
  block.write(
    `0000644\0${'0000000\0'.repeat(2)}${size.toString(8).padStart(11, '0')}\0${'0'.repeat(11)}\0`,
    100,
  );
  block.write('        0', 148);
  block.write('ustar\x0000', 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

const tar = (files) =>
  Buffer.concat([
    ...files.flatMap(([name, content]) => [
      header(name, content.length),
      content,
      Buffer.alloc(-content.length & 511),
    ]),
    Buffer.alloc(1024),
  ]);

/** Text that does not compress to nothing. */
function letter(split, name, i) {
  const lines = [];
  for (let n = 0; n < 8; n++)
    lines.push(createHash('sha512').update(`${split} ${name} ${i} ${n}`).digest('base64'));
  return Buffer.from(lines.join('\n'));
}

/** Published archives by name. */
export function archives() {
  const of = (split) =>
    tar(
      CLASSES.map((name) => [
        `${split}/${name}.tar`,
        tar(Array.from({ length: PER_CLASS }, (_, i) => [`${name}_${i}.txt`, letter(split, name, i)])),
      ]),
    );
  return { 'train.tar': of('train'), 'valid.tar.gz': gzipSync(of('valid')) };
}

const published = archives();

const letters = defineDataset({
  name: 'letters',
  version: 1,
  description: 'letters for tests',
  license: 'CC0',
  size: '480 texts',
  terms: 'For tests only.',
  options: z.strictObject({
    upper: z.boolean().default(false).describe('capital letters'),
    pause_ms: z.number().min(0).default(0).describe('time that a text takes'),
  }),
  splits: { train: { description: '240 texts' }, valid: { description: '240 texts' } },
  files: ({ splits }) =>
    Object.entries(published)
      .filter(([name]) => splits.includes(name.split('.')[0]))
      .map(([name, content]) => ({
        name,
        urls: [`https://letters.invalid/${name}`],
        bytes: content.length,
        checksums: { md5: createHash('md5').update(content).digest('hex') },
      })),
  async prepare({ splits, options, files, step, progress, signal }) {
    for (const split of splits) {
      const archive = files.find(({ name }) => name.startsWith(split)).path;
      for (const [label, className] of CLASSES.entries()) {
        await step(`${split}/${className}`, async (output) => {
          const shard = await ShardWriter.create(output, `${split}-${className}.tar`);
          for await (const inner of readTar(archive)) {
            if (inner.name !== `${split}/${className}.tar`) continue;
            for await (const entry of readTar(inner.body(), { archive: inner.name })) {
              signal.throwIfAborted();
              const text = (await entry.read()).toString();
              const txt = Buffer.from(options.upper ? text.toUpperCase() : text);
              await shard.add({ key: entry.name.slice(0, -4), files: { txt }, label });
              progress(`${split} ${className}`, shard.count, PER_CLASS, 'texts');
              if (options.pause_ms > 0) await sleep(options.pause_ms);
            }
          }
          return shard.finish();
        });
      }
    }
  },
});

const none = () => {
  throw new Error('this modality only has a dataset');
};

export default defineModality({
  name: 'letters',
  api: 1,
  moduleUrl: import.meta.url,
  configSchema: z.strictObject({}),
  dataSchema: z.strictObject({}),
  presets: { tiny: { description: 'none', config: {} } },
  supports: {},
  datasets: { letters },
  createEncoder: none,
  openData: none,
  openInputs: none,
  collate: none,
});
