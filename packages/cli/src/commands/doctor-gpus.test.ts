import type { raw } from '@d2v/core';
import { describe, expect, it } from 'vitest';
import { type Finding, gpuFindings } from './doctor-gpus.js';

const a100: raw.Gpu = {
  device: 'cuda:0',
  name: 'NVIDIA A100-SXM4-80GB',
  capability: '8.0',
  memory: 80 * 2 ** 30,
  problem: null,
  remedy: null,
};
const usable: raw.CudaInfo = { built: true, driver: true, problem: null, remedy: null, gpus: [a100] };
const hidden = {
  problem: 'the NVIDIA driver shows no GPU to this process',
  remedy: 'unset CUDA_VISIBLE_DEVICES',
};
const old = { problem: 'its compute capability is 7.5, 8.0 or newer is needed', remedy: 'use a newer GPU' };
const noCode = {
  problem: 'the addon has no code for compute capability 8.0, only sm_90a',
  remedy: 'build it for this GPU',
};
const outdated = { problem: 'the NVIDIA driver supports CUDA up to 11.8', remedy: 'update the driver' };
const withoutCuda = { problem: 'the addon was built without CUDA', remedy: 'build it where nvcc is' };

const library = () => 'cuBLASLt 13.1.1';
const gpuWith = (obstacle: { problem: string; remedy: string }): raw.CudaInfo => ({
  ...usable,
  ...obstacle,
  gpus: [{ ...a100, ...obstacle }],
});
const none = (obstacle: { problem: string; remedy: string }, more: Partial<raw.CudaInfo> = {}) => ({
  ...usable,
  ...obstacle,
  gpus: [],
  ...more,
});

function expectProblem(
  [finding, ...rest]: Finding[],
  state: string,
  obstacle: { problem: string; remedy: string },
) {
  expect(rest).toEqual([]);
  expect(finding).toMatchObject({ state, topic: 'GPU', remedy: obstacle.remedy });
  expect(finding!.text).toContain(obstacle.problem);
}

describe('GPUs in d2v doctor', () => {
  it('names those that can be used, and the library of matrix products', () => {
    expect(gpuFindings(usable, library)).toEqual([
      { state: 'ok', topic: 'GPU', text: 'cuda:0: NVIDIA A100-SXM4-80GB, 80 GiB, compute capability 8.0' },
      {
        state: 'ok',
        topic: 'GPU GEMM',
        text: 'cuBLASLt 13.1.1; f32 products in f32, or in TF32 with common.tf32',
      },
    ]);
  });

  it('says how to build the addon where a driver is and CUDA was left out', () => {
    expectProblem(gpuFindings(none(withoutCuda, { built: false }), library), 'warn', withoutCuda);
  });

  it('finds nothing wrong with a machine without a GPU', () => {
    const [finding] = gpuFindings(none(withoutCuda, { built: false, driver: false }), library);
    expect(finding).toEqual({
      state: 'ok',
      topic: 'GPU',
      text: 'none (no NVIDIA driver); the addon was built without CUDA',
    });
  });

  it.each([hidden, outdated])('says what to do where no GPU is seen: $problem', (obstacle) => {
    expectProblem(gpuFindings(none(obstacle), library), 'warn', obstacle);
  });

  it.each([old, noCode])('says what to do about a GPU that cannot be used: $problem', (obstacle) => {
    expectProblem(gpuFindings(gpuWith(obstacle), library), 'warn', obstacle);
  });

  it('names the GPU that is left out beside one that is used', () => {
    const other = { ...a100, device: 'cuda:1', ...old };
    const [first, second, gemm] = gpuFindings({ ...usable, gpus: [a100, other] }, library);
    expect([first!.state, second!.state, gemm!.state]).toEqual(['ok', 'warn', 'ok']);
    expect(second!.remedy).toBe(old.remedy);
  });

  it('takes the remedy for a missing library from its error', () => {
    const missing = () => {
      throw new Error('cuBLASLt was not found (libcublasLt.so.13: no such file): install it with pip');
    };
    expect(gpuFindings(usable, missing)[1]).toEqual({
      state: 'bad',
      topic: 'GPU GEMM',
      text: 'cuBLASLt was not found (libcublasLt.so.13: no such file)',
      remedy: 'install it with pip',
    });
  });
});
