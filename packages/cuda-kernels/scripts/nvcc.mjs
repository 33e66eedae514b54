import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Whether an NVIDIA driver shows, on Linux, in WSL or on Windows. CMakeLists.txt looks in the same places. */
export const hasDriver = () =>
  [
    '/proc/driver/nvidia/version',
    '/dev/nvidiactl',
    '/usr/lib/wsl/lib/libcuda.so.1',
    `${process.env.SystemRoot}/System32/nvcuda.dll`,
  ].some((file) => existsSync(file));

/** The CUDA compiler that CMake finds too (native/cuda/cuda.cmake), or null where there is none. */
export function cudaCompiler() {
  if (process.env.CUDACXX) return process.env.CUDACXX;
  const toolkits = [process.env.CUDA_PATH, process.env.CUDA_HOME, '/usr/local/cuda'].filter(Boolean);
  const folders = [
    ...(process.env.PATH ?? '').split(delimiter),
    ...toolkits.map((toolkit) => join(toolkit, 'bin')),
  ];
  const name = process.platform === 'win32' ? 'nvcc.exe' : 'nvcc';
  return folders.map((folder) => join(folder, name)).find((file) => existsSync(file)) ?? null;
}
