/**
 * Packs what a GPU machine without network needs to build, check and measure the CUDA backend: Node itself, our packages as
 * they are published with the kernels' sources and tests, what they depend on, the fixtures and the PyTorch peers.
 * `scripts/gpu-check` unpacks it. Must stay under 64 MiB.
 *
 *   scripts/gpu-bundle [file]      default: build/gpu-bundle.tar.gz
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { build } from 'tsup';
import { bundledPackages } from './gpu-packages.mjs';
import { root, run } from './pnpm.mjs';
import { setup } from './setup.mjs';

const LIMIT = 64 * 2 ** 20;
const SKIPPED = /\.(map|md|d\.ts|d\.cts|d\.mts|flow)$|\.test\.(ts|js)$/;

const output = resolve(process.argv[2] ?? join(root, 'build', 'gpu-bundle.tar.gz'));
const stage = join(root, 'build', 'gpu-bundle');
const app = join(stage, 'app');
const modules = join(app, 'node_modules');

setup();
rmSync(stage, { recursive: true, force: true });
mkdirSync(modules, { recursive: true });
for (const { source, target, files } of bundledPackages(root)) {
  if (files) for (const file of files) copy(join(source, file), join(modules, target, file));
  else copy(source, join(modules, target));
}
await bundleTools();
copy(join(root, 'bench', 'peers'), join(stage, 'peers')); // where bench.mjs looks: beside its folder
copy(join(root, 'test', 'fixtures'), join(app, 'fixtures'));
copy(join(root, 'scripts', 'gpu-check'), join(stage, 'gpu-check'));
writeFileSync(join(stage, 'version'), `${version()}\n`);
copyNode();
pack();

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

/** The commit that results belong to. */
function version() {
  const { status, stdout } = spawnSync('git', ['describe', '--always', '--dirty'], {
    cwd: root,
    encoding: 'utf8',
  });
  return status === 0 ? stdout.trim() : 'an unknown commit';
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
