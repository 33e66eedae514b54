import * as k from '@d2v/cuda-kernels';
import { describe, expect, it } from 'vitest';
import type { CommonConfig } from '../config/joint.js';
import { idleGpu, resolveDevice, resolveDtype, setUpMachine } from './machine.js';

const { devices } = k.deviceInfo();

describe('devices', () => {
  it('takes the first GPU where there is one', () => {
    expect(resolveDevice('auto')).toBe(devices[1] ?? 'cpu');
    expect(resolveDevice('cpu')).toBe('cpu');
    if (devices.includes('cuda:0')) expect(resolveDevice('cuda')).toBe('cuda:0');
  });

  it('says why a GPU cannot be used', () => {
    const obstacle = { problem: 'the addon was built without CUDA', remedy: 'build it where nvcc is' };
    const cuda = { built: false, driver: true, ...obstacle, gpus: [] };
    const message = (wanted: string, changes: Partial<k.CudaInfo> = {}) => {
      try {
        return resolveDevice(wanted, { devices: ['cpu'], cuda: { ...cuda, ...changes } });
      } catch (error) {
        return (error as Error).message;
      }
    };
    expect(message('cuda')).toBe(
      'there is no device "cuda", only cpu: the addon was built without CUDA; build it where nvcc is',
    );
    expect(message('cuda', { driver: false })).toBe(
      'there is no device "cuda", only cpu: no NVIDIA driver is installed here; install it, or set common.device=cpu',
    );
    const old = { device: 'cuda:1', name: 'K80', capability: '3.7', memory: 1 };
    const gpus = [{ ...old, problem: 'it is too old', remedy: 'use another one' }];
    expect(message('cuda:1', { built: true, gpus })).toMatch(/only cpu: it is too old; use another one$/);
    for (const [wanted, changes] of [['gpu'], ['cuda:98', { built: true, problem: null }]] as const)
      expect(message(wanted, changes)).toBe(
        `there is no device "${wanted}", only cpu: set common.device to what there is`,
      );
  });

  it('says how to do without what only GPUs have, all at once', () => {
    const common = { threads: 0, tf32: true, cuda_graphs: true };
    expect(() => setUpMachine({ common } as CommonConfig, 'cpu')).toThrow(
      'common.cuda_graphs and common.tf32: only GPUs have that, not cpu: --set common.cuda_graphs=false --set common.tf32=false',
    );
  });

  it('says that a GPU is left idle, where a driver is and nobody asked for the CPU', () => {
    const obstacle = { problem: 'the addon was built without CUDA', remedy: 'build it where nvcc is' };
    const cuda = { built: false, driver: true, ...obstacle, gpus: [] };
    expect(idleGpu('auto', { devices: ['cpu'], cuda })).toMatch(/not used: .* without CUDA: build it where/);
    expect(idleGpu('cpu', { devices: ['cpu'], cuda })).toBeNull();
    expect(idleGpu('auto', { devices: ['cpu', 'cuda:0'], cuda })).toBeNull();
    expect(idleGpu('auto', { devices: ['cpu'], cuda: { ...cuda, driver: false } })).toBeNull();
  });

  it('switches TF32 on and off, on GPUs', () => {
    for (const device of devices) {
      const gemm = (tf32: boolean) =>
        setUpMachine({ common: { threads: 0, tf32 } } as CommonConfig, device).gemm;
      const exact = gemm(false);
      if (device === 'cpu')
        expect(() => gemm(true)).toThrow('only GPUs have that, not cpu: --set common.tf32=false');
      else expect(gemm(true)).toBe(`${exact}, TF32`);
      expect(gemm(false)).toBe(exact);
      expect(exact).not.toContain('TF32');
    }
  });

  it('computes in bf16 on a GPU unless told otherwise', () => {
    expect(resolveDtype('auto', 'cpu')).toBe('f32');
    expect(resolveDtype('auto', 'cuda:0')).toBe('bf16');
    expect(resolveDtype('f32', 'cuda:0')).toBe('f32');
    expect(resolveDtype('bf16', 'cpu')).toBe('bf16');
  });
});
