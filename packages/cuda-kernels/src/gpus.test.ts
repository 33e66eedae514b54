import { describe, expect, it } from 'vitest';
import { cudaGemmLibrary, deviceInfo, empty, fromArray, scope, toArray } from './index.js';

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
});
