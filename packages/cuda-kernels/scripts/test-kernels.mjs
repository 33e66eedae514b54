/**
 * Builds and runs the tests of native/test with CMake and CTest: every kernel of the CUDA backend against the CPU backend, on
 * the host's emulation or, with D2V_KERNEL_TESTS_ON=gpu, on the GPU. In the addon's build folder, whose objects of the CPU
 * backend are used again.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const on = process.env.D2V_KERNEL_TESTS_ON || 'emulator';
if (process.platform === 'win32' && on === 'emulator') {
  console.error('Kernel tests: skipped, the emulation needs a POSIX system.');
  process.exit(0);
}

function run(command, args) {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 });
  const output = `${result.stdout ?? ''}${result.stderr ?? ''}`;
  if (result.status === 0) return output;
  process.stderr.write(output);
  console.error(
    `${command} failed${result.error ? `: ${result.error.message}` : ''}. The kernel tests need CMake 3.18 and a C++17 compiler.`,
  );
  process.exit(result.status || 1);
}

const build = on === 'emulator' ? 'build' : `build-${on}`;
const jobs = String(Math.max(1, Math.min(16, availableParallelism())));
const configured = existsSync(join(root, build, 'CMakeCache.txt'));
const type = configured
  ? []
  : ['-DCMAKE_BUILD_TYPE=Release', '-DD2V_ADDON=OFF', `-DD2V_ONEDNN=${process.env.D2V_ONEDNN || 'AUTO'}`];
const options = [`-DD2V_KERNEL_TESTS_ON=${on}`, '-DD2V_TESTS=ON', ...type];
run('cmake', ['-S', '.', '-B', build, ...options]);
const compiled = run('cmake', [
  '--build',
  build,
  '--config',
  'Release',
  '--parallel',
  jobs,
  '--target',
  'kernel_tests',
]);
const warnings = compiled.split('\n').filter((line) => /warning/i.test(line));
if (warnings.length > 0) {
  console.error(`${warnings.join('\n')}\nThe kernels and their tests must compile without warnings.`);
  process.exit(1);
}
// On a GPU one test at a time has it for itself.
const parallel = on === 'emulator' ? jobs : '1';
const report = run('ctest', [
  '--test-dir',
  build,
  '-C',
  'Release',
  '--output-on-failure',
  '--parallel',
  parallel,
]);
console.log(`Kernel tests on ${on}: ${report.match(/.*tests passed.*/)?.[0] ?? 'none'}`);
