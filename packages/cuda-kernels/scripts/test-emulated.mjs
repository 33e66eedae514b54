/**
 * Runs the op suites of this package and of @d2v/core, and two updates of every modality, on an emulated GPU: the addon with
 * D2V_CUDA=EMULATE, whose device cuda:0 runs the GPU's kernels on the host. What it adds to the kernels' own tests
 * (native/test) is the way from TypeScript to the kernels: dtypes, copies, scalars that are read late, gradients.
 *
 * Needs built packages; a few minutes. Arguments: test files of core instead of all suites of ops.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const core = join(root, '..', 'core');
const cli = join(root, '..', 'cli');
const emulated = { D2V_CUDA: 'EMULATE', D2V_NATIVE: join(root, 'build', 'Emulated', 'Release', 'd2v.node') };

function run(cwd, args, options = {}) {
  const { env, stdio = 'inherit' } = options;
  const { status } = spawnSync(process.execPath, args, { cwd, env: { ...process.env, ...env }, stdio });
  if (status === 0) return;
  console.error(`failed: node ${args.join(' ')}`);
  process.exit(status || 1);
}

run(root, [join(root, 'scripts', 'build-native.mjs')], { env: { D2V_CUDA: 'EMULATE' } });
const vitest = [join(root, 'node_modules', 'vitest', 'vitest.mjs'), 'run', '--testTimeout=120000'];
run(root, [...vitest, 'src/gpus.test.ts'], { env: emulated });
const files = process.argv.slice(2);
run(core, [...vitest, '-t', 'cuda:0', ...(files.length > 0 ? files : ['src/tensor/'])], { env: emulated });
// Whole runs, with work that waits in the streams as long as it can.
if (files.length === 0) {
  const late = { ...emulated, D2V_EMULATOR_ORDER: 'descending' };
  run(core, [...vitest, 'src/training/gpu.test.ts'], { env: late });
}

/** Two updates of a small model. @returns loss and norm of the gradients of each */
function train(modality, device, dtype, folder) {
  const runDir = join(folder, `${modality}-${device}-${dtype}`);
  const settings = [`common.dtype=${dtype}`, 'common.log_interval=1', 'model.depth=2'];
  run(
    cli,
    [
      ...[join(cli, 'dist', 'bin.js'), 'train', modality, '--preset', 'tiny', '--device', device],
      ...['--batch-size', '2', '--workers', '0', '--max-updates', '2', '--no-report', '--run', runDir],
      ...settings.flatMap((setting) => ['--set', setting]),
    ],
    { env: device === 'cuda' ? emulated : {}, stdio: ['ignore', 'ignore', 'inherit'] },
  );
  const lines = readFileSync(join(runDir, 'metrics.jsonl'), 'utf8').trim().split('\n');
  return lines.map((line) => JSON.parse(line)).flatMap(({ loss, grad_norm }) => [loss, grad_norm]);
}

const folder = mkdtempSync(join(tmpdir(), 'd2v-emulated-'));
let failed = false;
for (const modality of ['image', 'text', 'audio']) {
  for (const [dtype, limit] of [
    ['f32', 1e-4],
    ['bf16', 2e-2],
  ]) {
    const expected = train(modality, 'cpu', dtype, folder);
    const got = train(modality, 'cuda', dtype, folder);
    const error = Math.max(...expected.map((value, i) => Math.abs(got[i] - value) / Math.abs(value)));
    const good = got.length === expected.length && error <= limit;
    failed ||= !good;
    console.log(
      `${modality} ${dtype}: ${good ? 'as on the CPU' : `FAILED, ${got} and not ${expected}`} (${error.toExponential(1)})`,
    );
  }
}
rmSync(folder, { recursive: true, force: true });
if (failed) process.exit(1);
