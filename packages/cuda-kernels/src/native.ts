/** Finds and loads the compiled addon. The only file that knows where it lies. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { RawTensor } from './types.js';

/** Must equal `kAbi` of native/addon.cc. */
export const ABI = 3;

/** The addon could not be loaded; the message lists what was tried, the likely causes and their cures. */
export class NativeLoadError extends Error {
  override name = 'NativeLoadError';
}

// The addon checks every argument itself, so its functions take anything; src/ops gives them their types.
type NativeFunction = (...args: unknown[]) => unknown;
export type Native = Record<string, NativeFunction> & {
  abi: number;
  // biome-ignore lint/suspicious/noExplicitAny: the class cannot be constructed from JavaScript
  RawTensor: { prototype: RawTensor; new (...args: any[]): RawTensor };
};

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);

function candidates(): string[] {
  const platform = `${process.platform}-${process.arch}`;
  const list: string[] = [];
  if (process.env.D2V_NATIVE) return [process.env.D2V_NATIVE];
  list.push(join(root, 'build', 'Release', 'd2v.node'));
  list.push(join(root, 'prebuilds', platform, 'd2v.node'));
  try {
    list.push(require.resolve(`@d2v/cuda-kernels-${platform}/d2v.node`));
  } catch {
    // No prebuilt package for this platform is installed.
  }
  return list;
}

function cure(reason: string): string {
  const library = /(lib[\w.+-]+\.(?:so|dylib)[\w.]*)/.exec(reason)?.[1];
  if (library !== undefined && /cannot open shared object|Library not loaded/i.test(reason)) {
    const name = /dnnl/.test(library) ? ' (Debian, Ubuntu: apt-get install libdnnl2)' : '';
    return `the system library ${library} is missing: install it${name}, or build the addon again`;
  }
  if (/GLIBC|GLIBCXX/.test(reason)) return 'it was built for a newer system: build it again on this machine';
  if (/ELF|wrong architecture|not a valid Win32|invalid ELF/i.test(reason)) {
    return 'it was built for another system or processor: build it again on this machine';
  }
  if (/ABI/.test(reason)) return 'it was built from other sources: build it again';
  return 'build it again on this machine';
}

/**
 * How long an idle thread of GCC's OpenMP spins before it sleeps, in turns of its loop (about 15 microseconds): long enough
 * for the next kernel of an update, short enough not to starve other work. Its own default, milliseconds, makes training
 * several times slower as soon as anything else uses the cores. Read when the library is loaded; the user's setting wins.
 */
const SPIN_COUNT = '1000';

function open(): Native {
  if (process.env.OMP_WAIT_POLICY === undefined) process.env.GOMP_SPINCOUNT ??= SPIN_COUNT;
  const tried: string[] = [];
  for (const file of candidates()) {
    if (!existsSync(file)) {
      tried.push(`  ${file}: does not exist`);
      continue;
    }
    try {
      const addon = require(file) as Native;
      if (addon.abi !== ABI) throw new Error(`ABI ${addon.abi} found, ${ABI} needed`);
      return addon;
    } catch (error) {
      const reason = String((error as Error).message).split('\n')[0]!;
      tried.push(`  ${file}: ${reason}\n    -> ${cure(reason)}`);
    }
  }
  throw new NativeLoadError(
    [
      'The native addon of @d2v/cuda-kernels cannot be loaded. Tried:',
      ...tried,
      'To build it: run `npm explore @d2v/cuda-kernels -- npm run build:native` (inside the repository:',
      '`npm run setup`). It needs a C++17 compiler, CMake 3.18 or newer, and nothing from the network.',
    ].join('\n'),
  );
}

/** Threads to use: D2V_THREADS, otherwise what the system gives this process. */
export function configuredThreads(value = process.env.D2V_THREADS): number {
  if (value === undefined || value.trim() === '') return Math.min(1024, availableParallelism());
  const threads = Number(value);
  if (!Number.isInteger(threads) || threads < 1 || threads > 1024) {
    throw new NativeLoadError(`D2V_THREADS=${value}: expected a whole number from 1 to 1024.`);
  }
  return threads;
}

function load(): Native {
  const threads = configuredThreads();
  const addon = open();
  addon.setThreads!(threads);
  return addon;
}

export const native: Native = load();
