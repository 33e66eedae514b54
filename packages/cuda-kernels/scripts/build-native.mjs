/**
 * Builds native/ into build/Release/d2v.node, or does nothing when that file was made from the same sources with the
 * same options and can be loaded here.
 *
 * Environment: D2V_ONEDNN=AUTO|ON|OFF, D2V_OPENMP=ON|OFF, D2V_CUDA=AUTO|ON|OFF|EMULATE, D2V_CUDA_ARCHITECTURES (default
 * "80;89;90a"; one of them builds faster), CXX, CUDACXX.  `--force` builds in any case.
 *
 * D2V_CUDA=AUTO compiles the GPU's kernels, which takes minutes, where both nvcc and an NVIDIA driver are (CMakeLists.txt); ON
 * also where there is no driver (for other machines), and fails without nvcc.
 *
 * D2V_CUDA=EMULATE makes build/Emulated/Release/d2v.node, whose device cuda:0 runs the GPU's kernels on the host: for tests
 * of this repository, which load it with D2V_NATIVE.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cudaCompiler, hasDriver } from './nvcc.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const options = {
  D2V_ONEDNN: process.env.D2V_ONEDNN || 'AUTO',
  D2V_OPENMP: process.env.D2V_OPENMP || 'ON',
  D2V_CUDA: process.env.D2V_CUDA || 'AUTO',
  D2V_CUDA_ARCHITECTURES: process.env.D2V_CUDA_ARCHITECTURES || '80;89;90a',
};
for (const [name, allowed] of [
  ['D2V_ONEDNN', ['AUTO', 'ON', 'OFF']],
  ['D2V_OPENMP', ['ON', 'OFF']],
  ['D2V_CUDA', ['AUTO', 'ON', 'OFF', 'EMULATE']],
]) {
  if (!allowed.includes(options[name])) {
    console.error(`${name}=${options[name]}: expected one of ${allowed.join(', ')}.`);
    process.exit(1);
  }
}

if (!/^\d+[a-z]?(-real|-virtual)?(;\d+[a-z]?(-real|-virtual)?)*$/.test(options.D2V_CUDA_ARCHITECTURES)) {
  console.error(
    `D2V_CUDA_ARCHITECTURES=${options.D2V_CUDA_ARCHITECTURES}: expected compute capabilities, such as "80;90a".`,
  );
  process.exit(1);
}
const emulate = options.D2V_CUDA === 'EMULATE';
const nvcc = cudaCompiler();
const compilesCuda =
  options.D2V_CUDA === 'ON' || (options.D2V_CUDA === 'AUTO' && hasDriver() && nvcc !== null);
const build = emulate ? join(root, 'build', 'Emulated') : join(root, 'build');
const addon = join(build, 'Release', 'd2v.node');
const stampFile = join(build, 'Release', 'd2v.json');

/** Files of other builds: tests, and what only one of CUDA and its emulation compiles. */
function isInput(file) {
  const [folder, inner] = relative(join(root, 'native'), file).split(sep);
  if (folder === 'test') return false;
  if (folder !== 'cuda') return true;
  return emulate || (inner !== 'emulator' && compilesCuda);
}

function hashOfInputs() {
  const hash = createHash('sha256');
  hash.update(
    JSON.stringify([options, process.platform, process.arch, process.env.CXX, compilesCuda && nvcc]),
  );
  const files = readdirSync(join(root, 'native'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(cc|h|cu|cmake)$/.test(entry.name))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .filter(isInput)
    .sort();
  for (const file of [...files, join(root, 'CMakeLists.txt')]) {
    hash.update(`${file.slice(root.length)}\n`);
    hash.update(readFileSync(file));
  }
  return hash.digest('hex');
}

/** In a child process: a file that cannot be loaded (missing library, other machine) must not take us with it. */
function loads() {
  const script = `try { require(${JSON.stringify(addon)}) } catch (e) { console.error(e.message); process.exit(1) }`;
  const check = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' });
  return check.status === 0 ? null : check.stderr.trim() || `killed by ${check.signal}`;
}

function stamp() {
  try {
    return JSON.parse(readFileSync(stampFile, 'utf8')).inputs;
  } catch {
    return null;
  }
}

const inputs = hashOfInputs();
const force = process.argv.includes('--force');
if (!force && existsSync(addon) && stamp() === inputs && loads() === null) process.exit(0);

// What CMake remembers about libraries may be stale: the configuration is cheap, the objects are kept.
rmSync(join(build, 'CMakeCache.txt'), { force: true });
const cmakeJs = createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js');
const definitions = Object.entries(options).map(([name, value]) => `--CD${name}=${value}`);
const jobs = Math.max(1, Math.min(16, availableParallelism()));
const args = [
  cmakeJs,
  'build',
  '--out',
  build,
  '--parallel',
  String(jobs),
  ...definitions,
  '--log-level',
  'error',
];
const result = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 });
if (result.status !== 0) {
  process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}`);
  console.error('The native addon could not be built. It needs CMake 3.18 or newer and a C++17 compiler.');
  process.exit(result.status || 1);
}
const warnings = `${result.stdout}${result.stderr}`.split('\n').filter((line) => /warning/i.test(line));
if (warnings.length > 0) console.error(warnings.join('\n'));
const cuda = /^-- (CUDA: .*)$/m.exec(result.stdout ?? '')?.[1];
if (cuda && (nvcc !== null || hasDriver())) console.error(cuda);
const problem = loads();
if (problem !== null) {
  console.error(`The native addon was built but cannot be loaded:\n${problem}`);
  process.exit(1);
}
writeFileSync(stampFile, `${JSON.stringify({ inputs, options }, null, 2)}\n`);
