import * as k from '@d2v/cuda-kernels';
import type { CommonConfig } from '../config/joint.js';
import { D2vError } from '../errors.js';
import type { TrainerState } from './trainer-state.js';

/**
 * The device that `common.device` means: `auto` is the first GPU, or the CPU.
 * @throws D2vError when there is no such device
 */
export function resolveDevice(wanted: string): string {
  const { devices } = k.deviceInfo();
  if (wanted === 'auto') return devices.find((device) => device !== 'cpu') ?? 'cpu';
  if (devices.includes(wanted)) return wanted;
  throw new D2vError(
    `there is no device "${wanted}" here, only ${devices.join(', ')}: set common.device, or see \`d2v doctor\``,
  );
}

/** Applies `common.threads` and says what the last digits of results depend on. */
export function setUpMachine(config: CommonConfig, device: string): TrainerState['machine'] {
  if (config.common.threads > 0) k.setThreads(config.common.threads);
  const { isa, gemm, threads } = k.deviceInfo();
  return { device, isa, gemm, threads };
}
