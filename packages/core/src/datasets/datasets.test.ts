import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FaultServer } from '../testing/fault-server.js';
import { ARCHIVES, letterOf, letters } from './__fixtures__/letters.js';
import { openDataset } from './open.js';
import { prepareDataset } from './prepare.js';
import { TarShards } from './shards/tar-shards.js';
import type { DatasetOptions } from './types.js';

let root: string;
let cacheDir: string;
let server: FaultServer;
let said: string[];
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'd2v-datasets-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));
beforeEach(async () => {
  cacheDir = await mkdtemp(join(root, 'cache-'));
  server = await FaultServer.start();
  for (const [name, content] of Object.entries(ARCHIVES)) server.serve(`/${name}`, content);
  said = [];
});
afterEach(() => server.close());

const given = (more: DatasetOptions = {}): DatasetOptions => ({
  cacheDir,
  mirror: server.url(''),
  acceptTerms: true,
  backoffScale: 0.01,
  on: (event) => {
    if (event.type !== 'progress') said.push(event.message);
  },
  ...more,
});

describe('prepareDataset', () => {
  it('downloads, prepares and opens', async () => {
    const ready = await prepareDataset(letters, given());
    expect(ready.steps.map(({ key }) => key)).toEqual([
      'train/alpha',
      'train/beta',
      'train/gamma',
      'valid/alpha',
      'valid/beta',
      'valid/gamma',
    ]);
    expect(await openDataset(letters, { cacheDir })).toEqual(ready);
    const tars = ready.steps.flatMap(({ files }) => files).filter(({ name }) => name.endsWith('.tar'));
    const shards = await TarShards.open(
      tars.map(({ name }) => join(ready.folder, name)),
      { cacheDir },
    );
    expect(shards.length).toBe(240);
    expect(shards.label(85)).toBe(2);
    expect(shards.key(85)).toBe('gamma_5');
    expect((await shards.read(85, 'txt'))?.toString()).toBe(letterOf('train', 'gamma', 5).toString());
    await shards.close();
  });
});
