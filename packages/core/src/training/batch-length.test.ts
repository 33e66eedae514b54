import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { resolveConfig } from '../config/resolve.js';
import type { Modality } from '../modality/contract.js';
import { abortAt, testRuns } from './__fixtures__/runs.js';
import { framesOf, waveConfig, waves, wavesModality } from './__fixtures__/waves.js';
import type { TrainerEvent } from './events.js';

const { run, pathOf, bytesOf, metricsOf, stateOf } = testRuns();

describe('batches by length', { timeout: 120_000 }, () => {
  it('resume to the same bits, with damaged samples among them', async () => {
    const data = { variable: true, faults: { 3: 'bad', 17: 'bad', 29: 'bad' } } as const;
    const settings = {
      data: { batch_size: null, batch_length: 40, max_bad_share: 0.2 },
      optimization: { max_update: 14, update_freq: 2 },
    };
    const starts: string[] = [];
    const on = (event: TrainerEvent) => {
      if (event.type === 'start') starts.push(...event.effectiveBatch);
      if (event.type === 'warning') expect(event.message).toContain('damaged');
    };
    await run('whole', settings, { on }, data);
    expect(starts[0]).toMatch(
      /^one update: up to 80 frames \(40 x 2 accumulated\), on average .*one epoch: 40 samples = 442 frames/,
    );
    for (const stop of [1, 6, 7, 12]) {
      const result = await run(
        'broken',
        settings,
        { ...abortAt(stop), resume: existsSync(pathOf('broken')) },
        data,
      );
      expect(result).toMatchObject({ reason: 'signal', update: stop });
    }
    await run('broken', settings, { resume: true, on }, data);
    for (const file of ['model.safetensors', 'optimizer.safetensors']) {
      expect(bytesOf('broken', 14, file).equals(bytesOf('whole', 14, file))).toBe(true);
    }
    expect(stateOf('broken', 14)).toEqual(stateOf('whole', 14));
    expect(stateOf('whole', 14).parts.waves.badSamples.indices).toHaveLength(3);
    expect(metricsOf('broken')).toEqual(metricsOf('whole'));
  });

  it('keep their length, substitutes included', async () => {
    const sizes: number[][] = [];
    const watched: Modality = {
      ...wavesModality,
      collate(samples, data) {
        sizes.push(samples.map(({ id }) => framesOf(id)));
        return wavesModality.collate(samples, data);
      },
    };
    const faults = Object.fromEntries([1, 5, 9, 12, 30].map((i) => [i, 'bad' as const]));
    const settings = { data: { batch_size: 4, batch_length: 40, max_bad_share: 0.5 } };
    await run('a', settings, { modality: watched }, { variable: true, faults });
    // The first two are the longest, for the estimate of memory.
    const [longest, ...batches] = sizes;
    expect(longest).toEqual([16, 16]);
    expect(batches.length).toBeGreaterThanOrEqual(12);
    for (const batch of batches) {
      expect(batch.length).toBeLessThanOrEqual(4);
      expect(batch.length * Math.max(...batch)).toBeLessThanOrEqual(40);
    }
    const alone = { data: { batch_size: null, batch_length: 10 }, optimization: { max_update: 30 } };
    sizes.length = 0;
    expect(await run('b', alone, { modality: watched }, { variable: true })).toMatchObject({ update: 30 });
    for (const batch of sizes.slice(1)) if (Math.max(...batch) > 5) expect(batch).toHaveLength(1);
  });

  it('that are damaged whole are passed over', async () => {
    // All others are longer than a batch may be, so there is nothing to put in its place.
    const lonely = { length: 12, variable: true, faults: { 3: 'bad' } } as const;
    const source = () => ({
      ...waves(lonely),
      sizes: () => Float64Array.from({ length: 12 }, (_, i) => (i === 3 ? 1 : 40)),
    });
    const settings = {
      data: { batch_size: 3, batch_length: 30, max_bad_share: 0.5 },
      optimization: { max_update: 22 },
    };
    const result = await run('a', settings, { openSource: async () => source() });
    // Two epochs of eleven.
    expect(result).toMatchObject({ update: 22, samples: 22, badSamples: 1 });
    expect(stateOf('a', 22).parts.waves.position).toMatchObject({
      epoch: 1,
      offset: expect.toSatisfy((n) => n >= 11),
    });
    const faults = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [i, 'bad' as const]));
    const all = run('b', settings, {
      openSource: async () => ({ ...source(), ...waves({ faults, length: 12 }) }),
    });
    await expect(all).rejects.toThrow(/damaged/);
  });

  it('say what they need', async () => {
    const length = { data: { batch_length: 40 } };
    await expect(run('a', length)).rejects.toThrow(/data that tells the lengths.*set data\.batch_size/);
    expect(() => waveConfig({ data: { batch_size: null } })).toThrow(/both null/);
    const { sizeUnit: _, ...without } = wavesModality;
    const set = ['data.batch_length=4'];
    expect(() => resolveConfig({ modality: without, set })).toThrow(/modality waves have no lengths/);
  });
});
