import * as k from '@d2v/cuda-kernels';
import type { CommonConfig } from '../config/joint.js';
import { D2vError } from '../errors.js';
import type { TrainerState } from './trainer-state.js';

/**
 * The device that `common.device` means: `auto` is the first GPU that can be used, or the CPU; `cuda` is `cuda:0`.
 * @throws D2vError when there is no such device
 */
export function resolveDevice(
  wanted: string,
  { devices, cuda }: Pick<k.DeviceInfo, 'devices' | 'cuda'> = k.deviceInfo(),
): string {
  if (wanted === 'auto') return devices.find((device) => device !== 'cpu') ?? 'cpu';
  const name = wanted === 'cuda' ? 'cuda:0' : wanted;
  if (devices.includes(name)) return name;
  throw new D2vError(`there is no device "${wanted}", only ${devices.join(', ')}: ${wayOut(name, cuda)}`);
}

/** What stands between a device's name and using it, and what to do. */
function wayOut(device: string, cuda: k.CudaInfo): string {
  const gpu = cuda.gpus.find((one) => one.device === device);
  const { problem, remedy } = gpu?.problem ? gpu : cuda;
  if (!device.startsWith('cuda') || problem === null) return 'set common.device to what there is';
  // A build without CUDA asks no driver, and where there is none another build would not help.
  if (!cuda.built && !cuda.driver)
    return 'no NVIDIA driver is installed here; install it, or set common.device=cpu';
  return `${problem}; ${remedy}`;
}

/** Why `auto` leaves a GPU idle that seems to be there; null if it doesn't, or if there is none. */
export function idleGpu(
  wanted: string,
  { devices, cuda }: Pick<k.DeviceInfo, 'devices' | 'cuda'> = k.deviceInfo(),
): string | null {
  if (wanted !== 'auto' || !cuda.driver || devices.some((device) => device !== 'cpu')) return null;
  return `the GPU is not used: ${cuda.problem}: ${cuda.remedy}; --device cpu silences this`;
}

/** The dtype of activations that `common.dtype` means: `auto` is bf16 on a GPU, f32 on the CPU. */
export function resolveDtype(wanted: CommonConfig['common']['dtype'], device: string): 'f32' | 'bf16' {
  if (wanted !== 'auto') return wanted;
  return device === 'cpu' ? 'f32' : 'bf16';
}

/**
 * Applies `common.threads` and `common.tf32`, and says what the last digits of results depend on.
 * @throws D2vError if `common.cuda_graphs` or `common.tf32` is asked of a CPU
 */
export function setUpMachine(config: CommonConfig, device: string): TrainerState['machine'] {
  const { cuda_graphs, tf32 } = config.common;
  const ofGpus = [...(cuda_graphs ? ['common.cuda_graphs'] : []), ...(tf32 ? ['common.tf32'] : [])];
  if (ofGpus.length > 0 && !k.asynchronous(device)) {
    // Of a run that goes on they are in its config: they cannot be left out.
    const off = ofGpus.map((key) => `--set ${key}=false`).join(' ');
    throw new D2vError(`${ofGpus.join(' and ')}: only GPUs have that, not ${device}: ${off}`);
  }
  if (config.common.threads > 0) k.setThreads(config.common.threads);
  k.setTf32(device, tf32);
  const { isa, gemm, threads } = k.deviceInfo(device);
  return { device, isa, gemm, threads };
}
