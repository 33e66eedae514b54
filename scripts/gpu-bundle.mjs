/**
 * Packs what a GPU machine without network needs to build, check and measure the CUDA backend: Node itself, our packages as
 * they are published with the kernels' sources and tests, what they depend on, the fixtures and the PyTorch peers.
 * `scripts/gpu-check` unpacks it. Must stay under 64 MiB.
 *
 *   scripts/gpu-bundle [file]      default: build/gpu-bundle.tar.gz
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, realpathSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { build } from 'tsup';
import { root, run } from './pnpm.mjs';
import { setup } from './setup.mjs';

const LIMIT = 64 * 2 ** 20;
const PACKAGES = ['core', 'cuda-kernels', 'modality-image', 'modality-audio', 'modality-text', 'cli'];
/** The addon is built with CMake alone there. */
const NOT_NEEDED = new Set(['cmake-js']);
const SKIPPED = /\.(map|md|d\.ts|d\.cts|d\.mts|flow)$|\.test\.(ts|js)$/;

const output = resolve(process.argv[2] ?? join(root, 'build', 'gpu-bundle.tar.gz'));
const stage = join(root, 'build', 'gpu-bundle');
const app = join(stage, 'app');
const modules = join(app, 'node_modules');

setup();
rmSync(stage, { recursive: true, force: true });
mkdirSync(modules, { recursive: true });
for (const name of PACKAGES) copyOwn(join(root, 'packages', name));
await bundleTools();
copy(join(root, 'bench', 'peers'), join(stage, 'peers')); // where bench.mjs looks: beside its folder
copy(join(root, 'test', 'fixtures'), join(app, 'fixtures'));
copy(join(root, 'scripts', 'gpu-check'), join(stage, 'gpu-check'));
copyNode();
pack();

/** One of our packages: its published files, the kernels' tests besides, and all it depends on. */
function copyOwn(folder) {
  const manifest = manifestOf(folder);
  const target = join(modules, manifest.name);
  for (const file of ['package.json', ...manifest.files]) copy(join(folder, file), join(target, file));
  for (const name of Object.keys(manifest.dependencies ?? {})) {
    if (!name.startsWith('@d2v/') && !NOT_NEEDED.has(name)) copyDependency(name, folder, target);
  }
}

/** A package that another one needs, beside it, or inside it where another version of it is beside. */
function copyDependency(name, from, parent) {
  const source = find(name, from);
  if (!source) return; // an optional one, for another system
  const { version, dependencies, optionalDependencies } = manifestOf(source);
  const beside = join(modules, name);
  let target = beside;
  if (existsSync(beside)) {
    if (manifestOf(beside).version === version) return;
    target = join(parent, 'node_modules', name);
  }
  copy(source, target);
  const needs = { ...dependencies, ...optionalDependencies };
  for (const need of Object.keys(needs)) copyDependency(need, source, target);
}

/** Where Node would find a package. */
function find(name, from) {
  for (let at = realpathSync(from); ; at = dirname(at)) {
    const folder = join(at, 'node_modules', name);
    if (existsSync(join(folder, 'package.json'))) return realpathSync(folder);
    if (at === dirname(at)) return null;
  }
}

function copy(from, to) {
  const filter = (path) => {
    const inside = path.slice(from.length);
    return !inside.includes('node_modules') && !inside.includes('__pycache__') && !SKIPPED.test(path);
  };
  cpSync(from, to, { recursive: true, filter });
}

/** The benchmark, its samples and the comparison with the reference's values, each as one file. */
async function bundleTools() {
  await build({
    entry: {
      bench: join(root, 'bench', 'src', 'index.ts'),
      samples: join(root, 'bench', 'src', 'samples.ts'),
      parity: join(root, 'test', 'parity', 'index.ts'),
    },
    format: 'esm',
    outDir: app,
    target: 'node20',
    external: [/^@d2v\//, 'sharp'],
    config: false,
    silent: true,
    splitting: false,
    outExtension: () => ({ js: '.mjs' }),
  });
}

/** This Node, without its symbols. */
function copyNode() {
  const target = join(stage, 'bin', 'node');
  cpSync(realpathSync(process.execPath), target);
  spawnSync('strip', [target]); // smaller where the tool is there
}

function pack() {
  mkdirSync(dirname(output), { recursive: true });
  const status = run('tar', ['-C', dirname(stage), '-czf', output, basename(stage)]);
  if (status !== 0) process.exit(status);
  const { size } = statSync(output);
  console.log(`${output}: ${(size / 2 ** 20).toFixed(1)} MiB`);
  if (size <= LIMIT) return;
  console.error(`gpu-bundle: larger than ${LIMIT / 2 ** 20} MiB`);
  process.exit(1);
}

function manifestOf(folder) {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
}
