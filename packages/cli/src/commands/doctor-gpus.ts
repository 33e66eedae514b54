/** What `d2v doctor` says of GPUs: what stands between this machine and training on one. */
import type { raw } from '@d2v/core';

/** A line of `d2v doctor`. */
export interface Finding {
  state: 'ok' | 'warn' | 'bad';
  topic: string;
  text: string;
  /** What to do about it. */
  remedy?: string;
}

const TOPIC = 'GPU';

/**
 * @param cuda what `deviceInfo` says
 * @param gemmLibrary names the library of matrix products, or throws where it cannot be loaded
 * @returns a line per GPU and library, each with a remedy if it is a problem
 */
export function gpuFindings(cuda: raw.CudaInfo, gemmLibrary: () => string): Finding[] {
  // Without a driver nobody waits for a GPU.
  const state = cuda.driver ? 'warn' : 'ok';
  if (!cuda.built && !cuda.driver) {
    return [{ state, topic: TOPIC, text: 'none (no NVIDIA driver); the addon was built without CUDA' }];
  }
  if (!cuda.built) {
    const text = `an NVIDIA driver is installed, but ${cuda.problem}`;
    return [{ state, topic: TOPIC, text, remedy: cuda.remedy! }];
  }
  if (cuda.gpus.length === 0) {
    return [{ state, topic: TOPIC, text: `none can be used: ${cuda.problem}`, remedy: cuda.remedy! }];
  }
  const found = cuda.gpus.map(gpuFinding);
  return cuda.problem === null ? [...found, libraryFinding(gemmLibrary)] : found;
}

function gpuFinding({ device, name, memory, capability, problem, remedy }: raw.Gpu): Finding {
  const text = `${device}: ${name}, ${(memory / 2 ** 30).toFixed(0)} GiB, compute capability ${capability}`;
  if (problem === null) return { state: 'ok', topic: TOPIC, text };
  return { state: 'warn', topic: TOPIC, text: `${text}; not used: ${problem}`, remedy: remedy! };
}

function libraryFinding(gemmLibrary: () => string): Finding {
  const topic = 'GPU GEMM';
  try {
    return { state: 'ok', topic, text: `${gemmLibrary()}; f32 products in f32, or in TF32 with common.tf32` };
  } catch (error) {
    // Its message ends in the remedy.
    const { message } = error as Error;
    const end = message.lastIndexOf(': ');
    return { state: 'bad', topic, text: message.slice(0, end), remedy: message.slice(end + 2) };
  }
}
