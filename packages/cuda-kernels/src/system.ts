/** Devices, threads, memory and time. Everything here is about the calling thread's own tensors. */
import { existsSync } from 'node:fs';
import { ABI, native } from './native.js';
import type { Device } from './types.js';

export interface Gpu {
  /** 'cuda:0' */
  device: Device;
  name: string;
  /** Compute capability: '9.0'. */
  capability: string;
  /** Bytes. */
  memory: number;
  /** Why it cannot be used; null if it can. */
  problem: string | null;
  /** What to do about that. */
  remedy: string | null;
}

export interface CudaInfo {
  /** Whether the addon was built with CUDA. */
  built: boolean;
  /** Whether an NVIDIA driver is installed, and so probably a GPU. */
  driver: boolean;
  /** Why no GPU can be used; null if one can. */
  problem: string | null;
  /** What to do about that. */
  remedy: string | null;
  gpus: Gpu[];
}

export interface DeviceInfo {
  /** That can be used: 'cpu', then GPUs. */
  devices: Device[];
  cuda: CudaInfo;
  /** Instruction set of the CPU kernels ('avx512', 'avx2', 'sse2', 'neon', 'generic') or GPU architecture ('sm_90'). */
  isa: string;
  threads: number;
  openmp: boolean;
  /** 'oneDNN 2.6.3', 'builtin', or on a GPU 'cuBLASLt 13.1.1', with ', TF32' where that is switched on. */
  gemm: string;
  compiler: string;
  abi: number;
}

/** Where NVIDIA's driver shows: on Linux, in WSL, on Windows. */
const DRIVER_FILES = [
  '/proc/driver/nvidia/version',
  '/dev/nvidiactl',
  '/usr/lib/wsl/lib/libcuda.so.1',
  `${process.env.SystemRoot}/System32/nvcuda.dll`,
];

/**
 * What is here. `isa` and `gemm` are the given device's; GPUs are listed without being opened.
 * @throws Error if the device's library of matrix products is missing
 */
export function deviceInfo(device: Device = 'cpu'): DeviceInfo {
  const info = native.deviceInfo!(device) as Omit<DeviceInfo, 'abi'>;
  return { ...info, cuda: { ...info.cuda, driver: DRIVER_FILES.some(existsSync) }, abi: ABI };
}

/**
 * The GPU's library of matrix products, 'cuBLASLt 13.1.1', looked for without opening a GPU.
 * @throws Error that says how to install it, or that the addon was built without CUDA
 */
export function cudaGemmLibrary(): string {
  return native.cudaGemmLibrary!() as string;
}

/**
 * Lets a GPU's library round the operands of f32 matrix products to TF32, 10 bits of mantissa: several times faster, good to
 * about three digits. Off at first. Concerns linear layers, matmul, and those convolutions that are matrix products (f32 of
 * all other ops is f32); bf16 never. A CPU computes in f32 in any case.
 */
export function setTf32(device: Device, on: boolean): void {
  native.setTf32!(device, on);
}

/** Matrix products that a GPU's library has no way to, of one shape. */
export interface GemmRefusal {
  /** '4096 x 3072 x 768 (m x n x k), b transposed, bf16 to bf16, epilogue bias, GELU and its input' */
  product: string;
  /** What was done: 'a product and a pass', 'the plain kernel' (slow) or 'convolution kernels'. */
  instead: string;
  calls: number;
}

export interface GemmReport {
  /** As `deviceInfo(device).gemm`. */
  library: string;
  /** The most frequent first. */
  refusals: GemmRefusal[];
  /** How often the library was asked for an algorithm, which is once per shape, and the host's time for it. */
  searches: number;
  searchMs: number;
}

/** What a GPU's library of matrix products did since this thread opened the device. Of a CPU there is nothing to tell. */
export function gemmReport(device: Device): GemmReport {
  return native.gemmReport!(device) as GemmReport;
}

/** Whether a device's ops return before their work is done: values are then better read with `readLater`. */
export function asynchronous(device: Device = 'cpu'): boolean {
  return native.asynchronous!(device) as boolean;
}

/** Threads of the ops that this thread calls from now on, 1 to 1024. Results do not depend on it, but for GEMM's. */
export function setThreads(threads: number): void {
  native.setThreads!(threads);
}

export interface MemoryStats {
  /** Bytes in use. */
  current: number;
  peak: number;
  liveBuffers: number;
  /** Bytes kept for reuse. */
  cached: number;
}

export function memoryStats(device: Device = 'cpu'): MemoryStats {
  return native.memoryStats!(device) as MemoryStats;
}

export function resetPeakMemory(device: Device = 'cpu'): void {
  native.resetPeakMemory!(device);
}

/** Gives cached memory back to the system. */
export function emptyCache(device: Device = 'cpu'): void {
  native.emptyCache!(device);
}

/** Waits for a device's pending work. */
export function synchronize(device: Device = 'cpu'): void {
  native.synchronize!(device);
}

/**
 * Keeps the work that `enqueue` has for a GPU until it is done, and starts it as a whole with less time between kernels (a
 * CUDA graph). It may contain any ops; one that waits for the device starts what there is, and what follows is started one
 * by one. Nothing of this happens on the CPU.
 *
 * @returns what `enqueue` returns
 * @throws what `enqueue` throws, after what it had enqueued was started; Error of the driver if it cannot record or start
 */
export async function recorded<T>(device: Device, enqueue: () => T | Promise<T>): Promise<T> {
  native.recordGraph!(device);
  let result: T;
  try {
    result = await enqueue();
  } catch (error) {
    try {
      native.startGraph!(device);
    } catch {
      // The first error is the one to know.
    }
    throw error;
  }
  native.startGraph!(device);
  return result;
}

export interface GraphStats {
  /** Graphs started since the device was first used. */
  started: number;
  /** Of those, how many had another sequence of kernels than all before and took milliseconds to make. */
  made: number;
}

export function graphStats(device: Device): GraphStats {
  return native.graphStats!(device) as GraphStats;
}

export interface ProfileLine {
  op: string;
  calls: number;
  ms: number;
}

/** Time per op. Costs nearly nothing while it is off; while it is on, every op waits for its device. */
export const profile = {
  /** Forgets earlier times and starts measuring. */
  start(): void {
    native.profileStart!();
  },
  stop(): void {
    native.profileStop!();
  },
  /** Largest time first. */
  report(): ProfileLine[] {
    return (native.profileReport!() as ProfileLine[]).sort((a, b) => b.ms - a.ms);
  },
};
