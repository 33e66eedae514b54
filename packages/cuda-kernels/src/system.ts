/** Devices, threads, memory and time. Everything here is about the calling thread's own tensors. */
import { ABI, native } from './native.js';
import type { Device } from './types.js';

export interface DeviceInfo {
  devices: Device[];
  /** Instruction set of the CPU kernels: 'avx512', 'avx2', 'sse2', 'neon', 'generic'. */
  isa: string;
  threads: number;
  openmp: boolean;
  /** 'oneDNN 2.6.3' or 'builtin'. */
  gemm: string;
  compiler: string;
  abi: number;
}

export function deviceInfo(): DeviceInfo {
  return { ...(native.deviceInfo!() as Omit<DeviceInfo, 'abi'>), abi: ABI };
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

export interface ProfileLine {
  op: string;
  calls: number;
  ms: number;
}

/** Time per op. Costs nearly nothing while it is off. */
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
