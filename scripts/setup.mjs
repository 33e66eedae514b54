/**
 * Everything a fresh clone needs, and nothing when it is there: system packages where they may be installed,
 * node_modules, the native addon and the built packages. Called by every script that needs them.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { cudaCompiler, hasDriver } from '../packages/cuda-kernels/scripts/nvcc.mjs';
import { pnpm, run } from './pnpm.mjs';

const MIN_NODE = [20, 19];

const has = (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
const say = (line) => console.error(`setup: ${line}`);

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < MIN_NODE[0] || (major === MIN_NODE[0] && minor < MIN_NODE[1])) {
    say(`Node ${process.versions.node} is too old: install Node ${MIN_NODE.join('.')} or newer.`);
    process.exit(1);
  }
}

/** True where the headers of oneDNN are: CMake looks in the same places. */
function hasOneDnn() {
  const prefixes = ['/usr', '/usr/local', '/opt/homebrew', process.env.DNNL_ROOT, process.env.DNNLROOT];
  return prefixes.some((prefix) => prefix && existsSync(join(prefix, 'include', 'dnnl.h')));
}

/** Installs Debian packages when we may; otherwise says what to install and whether it can be done without. */
function system(packages, why, required) {
  const names = packages.join(' ');
  const apt = process.platform === 'linux' && has('apt-get');
  if (apt && process.getuid?.() === 0) {
    say(`installing ${names} (${why})`);
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const quiet = { env, stdio: ['ignore', 'ignore', 'inherit'] };
    const install = () =>
      run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], quiet);
    if (install() === 0) return;
    if (run('apt-get', ['update', '-qq'], quiet) === 0 && install() === 0) return;
  }
  const how = apt ? `sudo apt-get install ${names}` : `install ${names} with your system's package manager`;
  say(`${required ? 'needed' : 'recommended'}: ${why}. To get it: ${how}`);
  if (required) process.exit(1);
}

/** Brings the checkout to a state in which every command works; cheap when it is already there. */
export function setup() {
  checkNode();
  if (!has('cmake')) system(['cmake'], 'CMake builds the native addon', true);
  if (![process.env.CXX, 'c++', 'g++', 'clang++', 'cl'].some((cxx) => cxx && has(cxx))) {
    system(['g++', 'make'], 'a C++ compiler builds the native addon', true);
  }
  if (!hasOneDnn() && process.env.D2V_ONEDNN !== 'OFF') {
    system(['libdnnl-dev'], 'oneDNN multiplies matrices faster than the built-in code', false);
  }
  // Part of the build's cache key: an addon built without oneDNN is not reused once oneDNN is there.
  process.env.D2V_ONEDNN ??= hasOneDnn() ? 'ON' : 'OFF';
  // Likewise for CUDA: naming the compiler, once there is a driver to run what it makes, makes the build look again.
  const nvcc = cudaCompiler();
  if (hasDriver() && nvcc !== null) process.env.CUDACXX = nvcc;
  const steps = [
    ['install', '--frozen-lockfile', '--silent'],
    ['exec', 'turbo', 'run', 'build', '--output-logs=errors-only', '--log-order=grouped'],
  ];
  for (const step of steps) {
    // To standard error: what a command prints itself may be read by a program.
    const status = pnpm(step, { stdio: ['inherit', 2, 'inherit'] });
    if (status !== 0) {
      say(`'pnpm ${step.join(' ')}' failed (exit ${status}).`);
      process.exit(status);
    }
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  setup();
  say('ready.');
}
