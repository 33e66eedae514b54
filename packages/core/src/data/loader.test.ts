import { afterEach, describe, expect, it } from 'vitest';
import type { DataConfig, Modality } from '../modality/contract.js';
// @ts-expect-error: plain JavaScript without types
import plugin from './__fixtures__/numbers-plugin.js';
import type { BatchJob, LoadedBatch } from './load-batch.js';
import { DataLoader } from './loader.js';
import { openSource } from './open-source.js';
import type { SourceSpec } from './protocol.js';
import { EpochSampler } from './sampler.js';

const modality = plugin as Modality;
const loaders: DataLoader[] = [];
afterEach(() => Promise.all(loaders.splice(0).map((loader) => loader.close())));

const assets = { 'note.txt': new TextEncoder().encode('from the checkpoint') };

interface Options {
  workers: number;
  length?: number;
  batches?: number;
  faults?: Record<string, string>;
  timeoutSeconds?: number;
  substitute?: boolean;
  mode?: 'train' | 'eval';
  /** Instead of those of a sampler. */
  given?: BatchJob[];
}

function* jobs({
  length = 23,
  batches = 8,
  substitute = true,
  mode = 'train',
}: Options): Generator<BatchJob> {
  const sampler = new EpochSampler({ length, seed: 5, updateSize: 4 });
  for (let i = 0; i < batches; i++) {
    const slots = sampler.next(4);
    yield { slots, mode, substitute, after: sampler.position };
  }
}

async function loader(options: Options): Promise<DataLoader> {
  const { workers, length = 23, faults = {}, timeoutSeconds = 20 } = options;
  const data = { length, faults } as unknown as DataConfig;
  const spec: SourceSpec = {
    moduleUrl: modality.moduleUrl,
    data,
    open: { kind: 'data', split: 'train', cacheDir: '', offline: true, assets },
    seed: 5,
  };
  const common = { jobs: options.given ?? jobs(options), workers, prefetch: 2, timeoutSeconds };
  const local =
    workers === 0 ? { source: await openSource(modality, spec), modality, data, seed: 5 } : undefined;
  const made = new DataLoader({ ...common, spec, local });
  loaders.push(made);
  return made;
}

async function all(options: Options): Promise<LoadedBatch[]> {
  const from = await loader(options);
  const batches: LoadedBatch[] = [];
  for (let next = await from.next(); next; next = await from.next()) batches.push(next);
  return batches;
}

describe.each([0, 1, 3])('DataLoader with %i threads', (workers) => {
  it('gives the same batches in the same order', async () => {
    const expected = await all({ workers: 0 });
    expect(expected).toHaveLength(8);
    expect(new Set(expected.flatMap((loaded) => loaded.batch!.ids)).size).toBe(23);
    expect(await all({ workers })).toEqual(expected);
  });

  it('puts the same substitutes in place of damaged samples, and lists them', async () => {
    const faults = { 3: 'bad', 11: 'bad', 12: 'bad' };
    const found = await all({ workers, faults });
    expect(found).toEqual(await all({ workers: 0, faults }));
    expect(found.every((loaded) => loaded.batch!.size === 4)).toBe(true);
    const ids = found.flatMap((loaded) => loaded.batch!.ids);
    for (const index of [3, 11, 12]) expect(ids).not.toContain(index);
    const bad = found.flatMap((loaded) => loaded.bad);
    expect(bad).toContainEqual({ index: 11, file: '11.num', reason: 'made so' });
  });

  it('opens data with the assets', async () => {
    const bad = (await all({ workers, faults: { 5: 'asset' } })).flatMap((loaded) => loaded.bad);
    expect(bad[0]).toEqual({ index: 5, file: '5.num', reason: 'from the checkpoint' });
  });

  it('takes substitutes from those it is given, else leaves the sample out', async () => {
    const faults = { 3: 'bad', 11: 'bad', 12: 'bad' };
    const jobOf = (substitutes: number[]): BatchJob => ({
      slots: [3, 4, 11].map((index, offset) => ({ index, epoch: 0, offset })),
      mode: 'train',
      substitute: true,
      substitutes,
    });
    // One loader for all: starting threads is what takes time here.
    const given = [[7, 8, 9], [12, 8], [12], []].map(jobOf);
    const some = await loader({ workers, faults, given });
    const ids: unknown[] = [];
    for (const _ of given) ids.push((await some.next())!.batch!.ids);
    expect(ids).toEqual([[7, 4, 9], [8, 4, 8], [4], [4]]);
  });

  it('leaves damaged samples out where no substitute is wanted', async () => {
    const faults = Object.fromEntries(Array.from({ length: 22 }, (_, i) => [i, 'bad']));
    const found = await all({ workers, faults, substitute: false, mode: 'eval', batches: 6 });
    expect(found.flatMap((loaded) => loaded.batch?.ids ?? [])).toContain(22);
    expect(found.some((loaded) => loaded.batch === null)).toBe(true);
  });

  it('gives up when nearly everything is damaged', async () => {
    const faults = Object.fromEntries(Array.from({ length: 23 }, (_, i) => [i, 'bad']));
    await expect(all({ workers, faults })).rejects.toThrow(
      /samples drawn one after the other are damaged.*made so/,
    );
  });

  it('names the sample that cannot be read', async () => {
    await expect(all({ workers, faults: { 4: 'error' } })).rejects.toThrow(
      /cannot load sample number 4: cable unplugged/,
    );
  });

  it('reports data that cannot be opened', async () => {
    await expect(all({ workers, faults: { open: 'no such folder' } })).rejects.toThrow(/^no such folder$/);
  });
});

describe('DataLoader when a thread misbehaves', () => {
  it.each([
    ['exit', /thread \d stopped with exit code 3/],
    ['throw-later', /thread \d failed: out of nowhere/],
  ])('reports "%s" and never hangs', async (fault, message) => {
    await expect(all({ workers: 2, faults: { 9: fault } })).rejects.toThrow(message);
  });

  it('reports a thread that delivers nothing', async () => {
    await expect(all({ workers: 1, faults: { 9: 'hang' }, timeoutSeconds: 0.4 })).rejects.toThrow(
      /delivered nothing for 0\.4 s/,
    );
  }, 15_000);

  it('closes with batches under way', async () => {
    const some = await loader({ workers: 2, batches: 1000 });
    await some.next();
    await some.close();
    await expect(some.next()).rejects.toThrow(/closed/);
  });
});
