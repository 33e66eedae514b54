/**
 * Compiles all CUDA code for every architecture, and fails on warnings and on an addon that does not load without a GPU.
 * Needs nvcc and no GPU; without nvcc it says so and succeeds. Minutes the first time; build/Cuda keeps the objects.
 *
 * Environment: D2V_CUDA_ARCHITECTURES, CUDACXX, CUBLAS_ROOT (where include/cublasLt.h is: what the sources say of cuBLASLt
 * is then checked against it; `pip install nvidia-cublas` brings it in nvidia/cu13 of the Python packages).
 */
import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const build = join(root, 'build', 'Cuda');
const architectures = process.env.D2V_CUDA_ARCHITECTURES || '80;89;90a';

function run(command, args) {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
  return { ok: status === 0, output: `${stdout ?? ''}${stderr ?? ''}` };
}

function fail(message, output) {
  process.stderr.write(output);
  console.error(message);
  process.exit(1);
}

const configured = run('cmake', [
  ...['-S', root, '-B', build, '-DD2V_CUDA=AUTO', `-DD2V_CUDA_ARCHITECTURES=${architectures}`],
  '-DCMAKE_BUILD_TYPE=Release',
]);
if (!configured.ok) fail('CMake failed.', configured.output);
const missing = /^-- CUDA: not compiled, (.*)$/m.exec(configured.output)?.[1];
if (missing !== undefined) {
  console.log(`CUDA code was not compiled: ${missing}`);
  process.exit(0);
}
const built = run('cmake', [
  '--build',
  build,
  '--target',
  'd2v',
  '--parallel',
  String(availableParallelism()),
]);
if (!built.ok) fail('CUDA code does not compile.', built.output);
const warnings = built.output.split('\n').filter((line) => /warning/i.test(line));
if (warnings.length > 0) fail(`${warnings.length} warnings in CUDA code.`, `${warnings.join('\n')}\n`);
const addon = join(build, 'Release', 'd2v.node');
const loaded = run(process.execPath, ['-p', `require(${JSON.stringify(addon)}).deviceInfo().cuda.built`]);
if (!loaded.ok || loaded.output.trim() !== 'true') fail('The addon with CUDA does not load.', loaded.output);
console.log(`CUDA code compiles for ${architectures} without warnings, and the addon loads.`);
