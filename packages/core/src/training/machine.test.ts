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
    expect(() => resolveDevice('cuda:98')).toThrow(/no device "cuda:98" here, only cpu.*d2v doctor/);
    const { problem, remedy } = k.deviceInfo().cuda;
    if (problem !== null) expect(() => resolveDevice('cuda')).toThrow(`${problem}: ${remedy}`);
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
      if (device === 'cpu') expect(() => gemm(true)).toThrow('common.tf32: cpu has no TF32: leave it out');
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
