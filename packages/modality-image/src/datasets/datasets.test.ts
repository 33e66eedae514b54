/**
 * The built-in datasets, fetched for real with npm: once per machine, as they stay in the cache folder. Without network
 * (and without a filled cache) these tests are skipped and say so.
 */
import { copyFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DataConfig, dataCacheDir, Philox } from '@d2v/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ImageDataConfig, imageDataSchema } from '../data-config.js';
import { builtIn, datasetOf, openImageData } from './index.js';
import type { Pack } from './pack.js';
import { openPrepared } from './prepared.js';

const FETCH_TIMEOUT = 300_000;
const cacheDir = dataCacheDir();
let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'd2v-datasets-'));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

const EXPECTED = {
  digits: { count: 10_000, width: 28, channels: 1, perClass: [863, 1127], mean: 0.13 },
  emoji: { count: 1906, width: 64, channels: 3, perClass: [85, 386], mean: 0.77 },
};
const silent = { log: () => {} };

for (const name of ['digits', 'emoji'] as const) {
  const expected = EXPECTED[name];
  describe(name, () => {
    let pack: Pack | undefined;
    let reason = '';
    beforeAll(async () => {
      try {
        pack = await openPrepared(builtIn[name], { cacheDir, ...silent });
      } catch (error) {
        reason = (error as Error).message;
        // A wrong hash or a defect of ours is a failure; a registry that cannot be reached is not.
        if (
          !/npm says (ENOTFOUND|EAI_AGAIN|ECONN|ETIMEDOUT|ENETUNREACH|ENOTCACHED)|npm was not found/.test(
            reason,
          )
        )
          throw error;
      }
    }, FETCH_TIMEOUT);

    it('has the pictures and classes it should', ({ skip }) => {
      if (!pack) return skip(reason);
      const { header, labels, pixels } = pack;
      expect(header).toMatchObject({
        count: expected.count,
        width: expected.width,
        height: expected.width,
        channels: expected.channels,
      });
      const counts = header.classes.map((_, label) => labels.filter((other) => other === label).length);
      expect([Math.min(...counts), Math.max(...counts)]).toEqual(expected.perClass);
      expect(new Set(header.names).size).toBe(header.count);
      const mean = pixels.reduce((sum, value) => sum + value, 0) / pixels.length / 255;
      expect(mean).toBeCloseTo(expected.mean, 1);
      expect(header.license).not.toBe('');
    });

    it('holds out a fifth, of every class, and nothing twice', async ({ skip }) => {
      if (!pack) return skip(reason);
      const data = {
        ...imageDataSchema.parse({ input_size: 32 }),
        dataset: name,
        path: null,
      } as ImageDataConfig & DataConfig;
      const open = (split: 'train' | 'valid' | 'all') =>
        openImageData(data, { split, cacheDir, offline: true, ...silent });
      const [train, valid, all] = [await open('train'), await open('valid'), await open('all')];
      expect(valid.length / all.length).toBeCloseTo(0.2, 1);
      const names = [train, valid].map((part) =>
        Array.from({ length: part.length }, (_, i) => part.describe(i)),
      );
      expect(new Set(names.flat()).size).toBe(all.length);
      expect(train.length + valid.length).toBe(all.length);
      const labels = new Set(Array.from({ length: valid.length }, (_, i) => valid.label!(i)));
      expect(labels.size).toBe(all.classes!.length);
    });

    it('gives samples that follow from the generator, normalised', async ({ skip }) => {
      if (!pack) return skip(reason);
      const data = {
        ...imageDataSchema.parse({ input_size: 32, ...builtIn[name].suggested }),
        dataset: name,
        path: null,
      } as ImageDataConfig & DataConfig;
      const source = await openImageData(data, { split: 'valid', cacheDir, offline: true, ...silent });
      const draw = async (seed: number) => (await source.get(3, new Philox(seed), 'train')).tensors.source!;
      expect((await draw(1)).shape).toEqual([3, 32, 32]);
      expect(await draw(1)).toEqual(await draw(1));
      expect((await draw(1)).data).not.toEqual((await draw(2)).data);
      let sum = 0;
      let squares = 0;
      for (let i = 0; i < 200; i++) {
        for (const value of (await source.get(i, new Philox(i), 'eval')).tensors.source!.data) {
          sum += value / (200 * 3072);
          squares += value ** 2 / (200 * 3072);
        }
      }
      expect(Math.abs(sum)).toBeLessThan(0.15);
      expect(Math.sqrt(squares - sum ** 2)).toBeCloseTo(1, 0);
    });

    // The same code for all of them; this one is small.
    it.runIf(name === 'digits')(
      'notices a damaged cache file and prepares it again',
      async ({ skip }) => {
        if (!pack) return skip(reason);
        const file = `${name}-1.d2vpack`;
        const damaged = join(scratch, file);
        await copyFile(join(cacheDir, file), damaged);
        const bytes = await readFile(damaged);
        bytes[bytes.length - 1000]! ^= 1;
        await writeFile(damaged, bytes);
        const said: string[] = [];
        const opened = openPrepared(builtIn[name], { cacheDir: scratch, log: (line) => said.push(line) });
        expect((await opened).pixels.length).toBe(pack.pixels.length);
        expect(said[0]).toMatch(/wrong content \(checksum\): preparing it again/);
        expect(
          Buffer.from((await readFile(damaged)).subarray(-2000)).equals(
            Buffer.from(pack.pixels.subarray(-2000)),
          ),
        ).toBe(true);
      },
      FETCH_TIMEOUT,
    );
  });
}

describe('opening', () => {
  it('an unknown dataset names the nearest', () => {
    expect(() => datasetOf('digit')).toThrow('there is no dataset "digit" (did you mean "digits"?)');
  });

  it.skipIf(process.platform === 'win32')(
    'a cache folder that cannot be used is said with the remedy',
    async () => {
      const file = join(scratch, 'a-file');
      await writeFile(file, '');
      expect((await stat(file)).isFile()).toBe(true);
      const opened = openPrepared(builtIn.digits, {
        cacheDir: join(file, 'below'),
        offline: true,
        ...silent,
      });
      await expect(opened).rejects.toThrow(/cannot use .*set D2V_DATA to a folder/);
    },
  );
});
