import * as k from '@d2v/cuda-kernels';
import { describe, expect, it } from 'vitest';
import { abortAt, type Settings, testRuns } from './__fixtures__/runs.js';
import { wavesModality } from './__fixtures__/waves.js';
import { loadModel } from './loaded-model.js';

const { run, pathOf, bytesOf, metricsOf, tensorOf } = testRuns();
const WEIGHT = 'blocks.0.attn.qkv.weight';
const gpu = k.deviceInfo().devices.find((device) => device !== 'cpu');

const settings = (common: NonNullable<Settings>['common'] = {}): Settings => ({
  common: { device: 'auto', ...common },
  optimization: { max_update: 6, update_freq: 2 },
  checkpoint: { save_interval_updates: 3 },
});
/** What a run leaves but for its settings: the moments of all weights, and weights. */
const numbers = (name: string) =>
  [3, 6].flatMap((update) => [
    bytesOf(name, update, 'optimizer.safetensors').toString('latin1'),
    ...[WEIGHT, `_ema.${WEIGHT}`].map((tensor) => tensorOf(name, update, tensor)),
  ]);

describe.runIf(gpu)('a run on cuda:0', { timeout: 120_000 }, () => {
  it.each(['f32', 'bf16'] as const)(
    'in %s has the same bits again, and when it is resumed',
    async (dtype) => {
      await run('one', settings({ dtype }));
      await run('again', settings({ dtype }));
      expect(numbers('again')).toEqual(numbers('one'));
      expect(metricsOf('again')).toEqual(metricsOf('one'));
      const stopped = await run('resumed', settings({ dtype }), abortAt(3));
      expect(stopped.update).toBeLessThan(6);
      await run('resumed', settings({ dtype }), { resume: true });
      expect(numbers('resumed')).toEqual(numbers('one'));
    },
  );

  it('has the same bits when its updates are recorded as graphs', async () => {
    await run('plain', settings());
    const before = k.graphStats(gpu!);
    const { update } = await run('recorded', settings({ cuda_graphs: true }));
    const after = k.graphStats(gpu!);
    expect(numbers('recorded')).toEqual(numbers('plain'));
    expect(metricsOf('recorded')).toEqual(metricsOf('plain'));
    expect(after.started - before.started).toBe(update - 1); // all but the first
    expect(after.made - before.made).toBeLessThan(update - 1);
  });

  it('leaves TF32 to runs: a model that is loaded changes nothing for another one', async () => {
    const gemm = () => k.deviceInfo(gpu!).gemm;
    await run('tf32', { ...settings({ tf32: true }), optimization: { max_update: 1 } });
    expect(gemm()).toContain('TF32');
    k.setTf32(gpu!, false);
    const loaded = await loadModel(pathOf('tf32'), { device: gpu, modality: wavesModality });
    expect(gemm()).not.toContain('TF32');
    loaded.dispose();
  });
});

describe.runIf(!gpu)('CUDA graphs without a GPU', () => {
  it('are refused', async () => {
    await expect(run('a', settings({ cuda_graphs: true }))).rejects.toThrow(
      'common.cuda_graphs: only GPUs have that, not cpu: --set common.cuda_graphs=false',
    );
  });
});
