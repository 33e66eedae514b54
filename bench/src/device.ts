import * as k from '@d2v/cuda-kernels';

/** The name of a GPU's model, "NVIDIA H200"; "" for a CPU. */
export function gpuName(device: string): string {
  return k.deviceInfo().cuda.gpus.find((gpu) => gpu.device === device)?.name ?? '';
}

/** Whether a GPU's kernels run on the host, in an addon of D2V_CUDA=EMULATE. */
export const isEmulated = (device: string): boolean => gpuName(device) === 'emulated';
