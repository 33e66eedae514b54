import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import {
  cudaGemmLibrary,
  deviceInfo,
  empty,
  fromArray,
  full,
  gemmReport,
  linear,
  scope,
  setTf32,
  toArray,
} from './index.js';

const { devices, cuda } = deviceInfo();

describe('GPUs', () => {
  it('lists those that can be used after the CPU, and says why there is none', () => {
    const usable = cuda.gpus.filter(({ problem }) => problem === null).map(({ device }) => device);
    expect(devices).toEqual(['cpu', ...usable]);
    expect(cuda.problem === null).toBe(usable.length > 0);
    for (const { problem, remedy } of [cuda, ...cuda.gpus]) expect(remedy === null).toBe(problem === null);
    if (!cuda.built) expect(`${cuda.problem}: ${cuda.remedy}`).toMatch(/built without CUDA: .*build:native/);
  });

  it('refuses a device that is not there, with the reason', () => {
    expect(() => empty([1], 'f32', 'cuda:99')).toThrow(/device "cuda:99" is not available; available: cpu/);
    if (cuda.problem === null) return;
    expect(() => empty([1], 'f32', 'cuda:0')).toThrow(`${cuda.problem}: ${cuda.remedy}`);
  });

  it('names the library of matrix products, or how to get it', () => {
    let answer: string;
    try {
      answer = cudaGemmLibrary();
    } catch (error) {
      answer = (error as Error).message;
    }
    expect(answer).toMatch(
      cuda.built ? /^cuBLASLt \d+\.|^emulated$|pip install nvidia-cublas|unset D2V_CUBLASLT/ : /without CUDA/,
    );
  });

  it.runIf(devices.length > 1)('gives back what it was given', () => {
    const values = Float32Array.from({ length: 1000 }, (_, i) => i / 7);
    scope(() => expect(toArray(fromArray(values, [10, 100], { device: devices[1]! }))).toEqual(values));
  });

  it('computes products in f32 unless TF32 is switched on', () => {
    for (const device of devices) {
      const product = () =>
        scope(
          () =>
            toArray(
              linear(full([64, 64], 1 + 2 ** -13, 'f32', device), full([64, 64], 1, 'f32', device)).y,
            )[0],
        );
      const exact = 64 * (1 + 2 ** -13);
      expect(product()).toBe(exact);
      setTf32(device, true);
      expect(deviceInfo(device).gemm.endsWith(', TF32')).toBe(device !== 'cpu');
      // A GPU may, the emulation does round.
      expect(deviceInfo(device).gemm === 'emulated, TF32' ? [64] : [64, exact]).toContain(product());
      setTf32(device, false);
      expect(product()).toBe(exact);
    }
  });

  it('has nothing to report of products on the CPU', () => {
    const { gemm } = deviceInfo();
    expect(gemmReport('cpu')).toEqual({ library: gemm, refusals: [], searches: 0, searchMs: 0 });
  });

  it.runIf(process.env.D2V_CUDA === 'EMULATE')(
    'says once that a large product is slow, and counts all',
    () => {
      const script = `
      import { full, gemmReport, linear, scope } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url))};
      const device = 'cuda:0';
      scope(() => {
        for (const rows of [2, 128, 128, 256]) linear(full([rows, 64], 1, 'f32', device), full([128, 64], 1, 'f32', device));
      });
      console.log(JSON.stringify(gemmReport(device).refusals.map(({ calls, instead }) => [calls, instead])));`;
      const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
        encoding: 'utf8',
        env: { ...process.env, D2V_EMULATED_GEMM: 'none' },
      });
      expect(JSON.parse(stdout)).toEqual([
        [2, 'the plain kernel'],
        [1, 'the plain kernel'],
        [1, 'the plain kernel'],
      ]);
      expect(stderr.match(/has no matrix product/g)).toHaveLength(1);
      expect(stderr).toContain(
        'emulated has no matrix product 128 x 128 x 64 (m x n x k), b transposed, f32 to f32',
      );
    },
  );
});
