import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSafetensors, parseSafetensors } from '../interchange/safetensors.js';
import { encodeSafetensors } from '../interchange/safetensors-writer.js';
import type { Assets, OpenDataOptions } from '../modality/contract.js';
import { waveConfig, waves, wavesModality } from './__fixtures__/waves.js';
import { assetEntries, readAssets } from './assets.js';
import { loadModel } from './loaded-model.js';
import { type TrainOptions, train } from './train.js';

const bytes = (text: string) => new TextEncoder().encode(text);
const assets = { 'tokenizer.json': bytes('{"a":1}'), empty: new Uint8Array() };

let parent: string;
beforeAll(() => {
  parent = mkdtempSync(join(tmpdir(), 'd2v-assets-'));
});
afterAll(() => rmSync(parent, { recursive: true, force: true }));

/** A short run whose data has these assets. */
const run = (name: string, given: Assets | undefined, options: Partial<TrainOptions> = {}) =>
  train({
    config: waveConfig({ optimization: { max_update: 2 }, eval: { interval_updates: 1 } }),
    modality: wavesModality,
    runDir: join(parent, name),
    openSource: async () => waves({ assets: given }),
    ...options,
  });

describe('assets in a checkpoint', () => {
  it('travel in the model file, which suffices, and reach whatever opens data for the model', async () => {
    const result = await run('a', assets);
    const file = join(parent, 'alone.safetensors');
    writeFileSync(file, readFileSync(join(parent, 'a', result.checkpoint, 'model.safetensors')));
    const opened = openSafetensors(file);
    expect(opened.info('asset.waves.tokenizer.json')).toMatchObject({ dtype: 'U8', shape: [7] });
    opened.close();
    const given: unknown[] = [];
    const modality = {
      ...wavesModality,
      openInputs: async (paths: string[], _: unknown, opts: object) => {
        given.push(opts);
        return waves({ length: paths.length });
      },
    };
    const model = await loadModel(file, { modality });
    expect(model.assets).toEqual(assets);
    expect((await model.embed(['a.wav', 'b.wav'])).shape).toEqual([2, 16]);
    expect(given).toMatchObject([{ assets }]);
    model.dispose();
  });

  it('are handed to every later part of the data, and to a resumed run', async () => {
    const calls: [string, Assets | undefined][] = [];
    const modality = {
      ...wavesModality,
      openData: async (_: unknown, opts: OpenDataOptions) => {
        calls.push([opts.split, opts.assets]);
        return waves({ assets: opts.assets ?? assets });
      },
    };
    const options = { modality, openSource: undefined };
    await run('parts', undefined, options);
    expect(calls).toEqual([
      ['train', undefined],
      ['valid', assets],
    ]);
    calls.length = 0;
    await run('parts', undefined, { ...options, resume: true });
    expect(calls).toEqual([
      ['train', assets],
      ['valid', assets],
    ]);
  });

  it('must be the same when a run goes on', async () => {
    await run('b', assets);
    await expect(run('b', assets, { resume: true })).resolves.toMatchObject({ update: 2 });
    const other = { ...assets, 'tokenizer.json': bytes('{"a":2}') };
    await expect(run('b', other, { resume: true })).rejects.toThrow(
      /other waves data.*tokenizer\.json, which differs now/,
    );
    await expect(run('b', undefined, { resume: true })).rejects.toThrow(/which the data lacks now/);
    await expect(run('b', { ...assets, more: bytes('x') }, { resume: true })).rejects.toThrow(
      /more, which its checkpoint lacks/,
    );
  });

  it('have plain names', () => {
    expect(() => assetEntries({ waves: { '../x': bytes('x') } })).toThrow(/"\.\.\/x" cannot be saved/);
    const file = parseSafetensors(
      encodeSafetensors(assetEntries({ waves: assets, other: { a: bytes('b') } })),
    );
    expect(readAssets(file)).toEqual({ waves: assets, other: { a: bytes('b') } });
    const odd = { name: 'asset.waves.x', dtype: 'f32', shape: [1], bytes: new Uint8Array(4) } as const;
    expect(() => readAssets(parseSafetensors(encodeSafetensors([odd])))).toThrow(
      /asset\.waves\.x is no asset/,
    );
  });
});
