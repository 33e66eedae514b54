/**
 * Compiles the CUDA half for compute capability 8.0, 8.9 and 9.0 without linking it: a warning is an error, and so is a kernel
 * that spills registers (scripts/ptxas-report.mjs lists exceptions). Needs nvcc, no GPU; says so in one line where nvcc is not.
 * Writes registers per kernel to build/cuda-check/kernels.txt.
 *
 * A file is compiled again when it, a header that it includes, the compiler or its options have changed. For two of the
 * architectures only the device's code is made; the host's code, which is the same for all, with the third, not optimised.
 * PTX needs no compilation of its own: each of them goes through it. Whether the addon also links and loads is
 * D2V_CUDA=ON scripts/build-native.mjs's to show.
 *
 * Environment: CUDACXX; D2V_CUDA=OFF skips the check; CUBLAS_ROOT (where include/cublasLt.h is: cublaslt_api.h is compared with
 * it; `pip install nvidia-cublas` brings it in nvidia/cu13 of the Python packages).
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cudaCompiler } from './nvcc.mjs';
import { kernelNames, kernelTable, maySpill, needless, parsePtxas } from './ptxas-report.mjs';

const ARCHITECTURES = ['80', '89', '90a'];
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const source = join('native', 'cuda');
const build = join(root, 'build', 'cuda-check');

/** @returns {never} */
function end(message, status) {
  console.error(message);
  process.exit(status);
}
if (process.env.D2V_CUDA === 'OFF') end('CUDA code: not compiled, D2V_CUDA=OFF.', 0);
if (process.platform === 'win32') end('CUDA code: not compiled, this check needs a POSIX system.', 0);
const nvcc = cudaCompiler();
if (nvcc === null) {
  end(
    'CUDA code: not compiled, nvcc was not found (on PATH, in CUDA_PATH or /usr/local/cuda; CUDACXX names it).',
    0,
  );
}
const version = spawnSync(nvcc, ['--version'], { encoding: 'utf8' });
if (version.status !== 0)
  end(`CUDA code: ${nvcc} --version failed: ${version.error?.message ?? version.stderr}`, 1);

const cublas = process.env.CUBLAS_ROOT ? ['-isystem', join(process.env.CUBLAS_ROOT, 'include')] : [];
const common = [
  '-std=c++17',
  '-I',
  'native',
  ...cublas,
  '-Werror',
  'all-warnings',
  '-Xcompiler=-Wall,-Wextra,-Werror',
];

/** What is compiled by one call: a file for one architecture, or a host's file. */
function units() {
  const files = readdirSync(join(root, source)).filter((name) => /\.(cu|cc)$/.test(name));
  const largestFirst = files
    .map((name) => ({ name, size: statSync(join(root, source, name)).size }))
    .sort((a, b) => b.size - a.size);
  return largestFirst.flatMap(({ name }) => {
    if (name.endsWith('.cc')) {
      const args = name === 'driver_gpu.cc' ? ['-c', '-DD2V_CUDA_CODE=""'] : ['-c'];
      return [{ file: name, target: name, args }];
    }
    return ARCHITECTURES.map((number, i) => ({
      file: name,
      architecture: `sm_${number}`,
      target: `${name}.sm_${number}`,
      args: [
        i + 1 < ARCHITECTURES.length ? '-cubin' : '-c',
        `--generate-code=arch=compute_${number},code=sm_${number}`,
        '-Xptxas=-v',
      ],
    }));
  });
}

const contents = new Map();
function contentOf(file) {
  if (!contents.has(file)) {
    let hash = 'absent';
    try {
      hash = createHash('sha256')
        .update(readFileSync(resolve(root, file)))
        .digest('hex');
    } catch {
      // A header that is gone: the file is compiled again.
    }
    contents.set(file, hash);
  }
  return contents.get(file);
}

function keyOf(unit, files) {
  const hash = createHash('sha256').update(JSON.stringify([nvcc, version.stdout, common, unit.args]));
  for (const file of files) hash.update(`${file} ${contentOf(file)}\n`);
  return hash.digest('hex');
}

/** What an earlier run found for the same inputs: { key, files, log }, or null. */
function earlier(unit) {
  try {
    const found = JSON.parse(readFileSync(join(build, `${unit.target}.json`), 'utf8'));
    return found.key === keyOf(unit, found.files) ? found : null;
  } catch {
    return null;
  }
}

/** Paths of a make rule, as the compiler wrote them: the package's own are relative to it. */
function filesOfRule(rule) {
  const paths =
    rule
      .slice(rule.indexOf(': ') + 2)
      .replaceAll('\\\n', ' ')
      .match(/(?:\\ |\S)+/g) ?? [];
  return paths.map((path) => path.replaceAll('\\ ', ' '));
}

function compile(unit) {
  const started = Date.now();
  const object = join(build, unit.target);
  const rule = `${object}.d`;
  const args = [...common, ...unit.args, '-MD', '-MF', rule, join(source, unit.file), '-o', object];
  return new Promise((fulfil, reject) => {
    const child = spawn(nvcc, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let log = '';
    child.stdout.on('data', (data) => (log += data));
    child.stderr.on('data', (data) => (log += data));
    child.on('error', reject);
    child.on('close', (status) => {
      if (status !== 0) {
        const said = log.split('\n').filter((line) => line && !/^ptxas info|bytes stack frame/.test(line));
        reject(new Error(`${said.join('\n')}\n${nvcc} ${args.join(' ')}`));
        return;
      }
      const files = filesOfRule(readFileSync(rule, 'utf8'));
      // What was edited meanwhile is not what was compiled.
      const edited = files.some((file) => statSync(resolve(root, file)).mtimeMs > started);
      const result = { key: edited ? '' : keyOf(unit, files), files, log };
      writeFileSync(`${object}.json.new`, JSON.stringify(result));
      renameSync(`${object}.json.new`, `${object}.json`);
      for (const file of [object, rule]) rmSync(file, { force: true });
      fulfil(result);
    });
  });
}

mkdirSync(build, { recursive: true });
const results = units().map((unit) => ({ unit, result: earlier(unit) }));
const waiting = results.filter(({ result }) => result === null);
const compiled = waiting.length;
const problems = [];
async function work() {
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    try {
      next.result = await compile(next.unit);
    } catch (error) {
      problems.push(error.message);
    }
  }
}
await Promise.all(Array.from({ length: Math.min(16, availableParallelism()) }, work));
if (problems.length > 0) {
  end(
    `${problems.slice(0, 3).join('\n\n')}\n${problems.length} of ${results.length} compilations failed: the CUDA code must compile without warnings for sm_${ARCHITECTURES.join(', sm_')}.`,
    1,
  );
}

const rows = results.flatMap(({ unit, result }) =>
  unit.architecture
    ? parsePtxas(result.log).map((kernel) => ({
        file: unit.file,
        architecture: unit.architecture,
        ...kernel,
      }))
    : [],
);
const names = kernelNames(rows.map(({ name }) => name));
rows.forEach((row, i) => {
  row.name = names[i];
});
const architectures = ARCHITECTURES.map((number) => `sm_${number}`);
const table = join(build, 'kernels.txt');
writeFileSync(table, kernelTable(rows, architectures));
const spilling = rows.filter(({ stores, loads }) => stores > 0 || loads > 0);
const refused = spilling.filter(({ name }) => maySpill(name) === null);
for (const { file, name, architecture, stores, loads } of refused) {
  console.error(
    `${file}: ${name} spills registers on ${architecture}: ${stores} bytes stored, ${loads} loaded.`,
  );
}
if (refused.length > 0) {
  end(
    `Kernels must not spill: fewer values held at once, or fewer threads per block (D2V_KERNEL). Registers: ${table}`,
    1,
  );
}
const kept = needless(spilling.map(({ name }) => name));
if (kept.length > 0) {
  // No error: another version of nvcc may need it.
  console.log(
    `CUDA code: scripts/ptxas-report.mjs lets ${kept.join(', ')} spill, which do not with this nvcc.`,
  );
}
const withCublas = results.some(({ result }) => result.files.some((file) => /[\\/]cublasLt\.h$/.test(file)));
console.log(
  `CUDA code: ${rows.length} kernels for ${architectures.join(', ')} without warnings, ${spilling.length} spill where they may; ${compiled} of ${results.length} compilations were due. Registers: ${table}`,
);
if (!withCublas) {
  console.log(
    'CUDA code: cublasLt.h was not found (CUBLAS_ROOT names the folder of its include/), so cublaslt_api.h is not compared with it.',
  );
}
