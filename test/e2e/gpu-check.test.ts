/** The way through scripts/gpu-check, on stubs of its tools: every error in it would cost time on a GPU. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const script = join(root, 'scripts', 'gpu-check');
const temporary = mkdtempSync(join(tmpdir(), 'd2v-gpu-check-'));
afterAll(() => rmSync(temporary, { recursive: true }));

/** Of the system's tools only those that the script may count on. */
const SYSTEM =
  'bash basename cat cp cut date dirname env grep gzip head mkdir mktemp nice nproc printf rm sleep tail tar tee timeout tr xargs';

/**
 * In the place of every other tool. It says its name and arguments; FAILS, a regular expression over that line, lets it fail
 * with a last word, HANGS lets it say something and not end.
 */
const STUB = `#!/usr/bin/env bash
line="$(basename "$0") $*"
[[ $line == nvidia-smi* ]] || echo "$line"
[[ $HANGS && $line =~ $HANGS ]] && echo 'so far' && sleep 60
[[ $FAILS && $line =~ $FAILS ]] && echo 'the last word' && exit 3
case "$line" in
  *memory.total*nounits) echo 143771 ;;
  *compute_cap*noheader) [[ $line == *name* ]] && echo 'NVIDIA H200, 580' || echo 9.0 ;;
  python3*) exit 1 ;;
  node\\ -e*) exec "$REAL_NODE" "$@" ;;
  node*train*)
    while [[ $1 != --run ]]; do shift; done
    mkdir -p "$2" && printf '{"loss":2}\\n{"loss":1.5}\\n' >"$2/metrics.jsonl" ;;
  node*doctor) echo 'ok    GPU GEMM  cuBLASLt' ;;
  ctest*) sleep 1; while [[ $1 != -O ]]; do shift; done && echo '100% tests passed' >"$2" ;;
esac
exit 0
`;

let folder: string;
let bundle: string;
let tools: string;

beforeEach(() => {
  folder = mkdtempSync(join(temporary, 'case-'));
  bundle = join(folder, 'bundle');
  tools = join(folder, 'tools');
  for (const made of [join(bundle, 'bin'), join(bundle, 'app', 'fixtures'), tools])
    mkdirSync(made, { recursive: true });
  cpSync(script, join(bundle, 'gpu-check'));
  writeFileSync(join(bundle, 'version'), 'abc123\n');
  stub(join(bundle, 'bin', 'node'));
  for (const name of ['image_base_a.json', 'image_small_a.json'])
    writeFileSync(join(bundle, 'app', 'fixtures', name), '{}');
  for (const name of ['nvidia-smi', 'nvcc', 'cmake', 'c++', 'make', 'ctest', 'python3'])
    stub(join(tools, name));
  for (const name of SYSTEM.split(' ')) {
    const found = (process.env.PATH ?? '').split(delimiter).map((at) => join(at, name));
    symlinkSync(found.find(existsSync)!, join(tools, name));
  }
});

function stub(path: string): void {
  writeFileSync(path, STUB);
  chmodSync(path, 0o755);
}

function gpuCheck(
  env: Record<string, string> = {},
  args: string[] = ['results'],
  at = join(bundle, 'gpu-check'),
) {
  const { status, stdout, stderr } = spawnSync(at, args, {
    cwd: folder,
    encoding: 'utf8',
    env: { PATH: tools, REAL_NODE: process.execPath, ...env },
  });
  const rows = stdout.slice(stdout.lastIndexOf('step  ')).split('\n').slice(1, -2);
  return { status, stdout, stderr, table: Object.fromEntries(rows.map(cells)) };
}

/** A row of the table: step and result. */
const cells = (row: string): [string, string] => [row.slice(0, 22).trim(), row.slice(23).trim()];
const states = (table: Record<string, string>) =>
  new Set(Object.values(table).map((row) => row.split(' ')[0]));

const STEPS = [
  'build',
  'doctor',
  'ops against the CPU',
  'parity with fixtures',
  'samples to train on',
  'train tiny image',
  'train tiny audio',
  'train tiny text',
  'again with graphs',
  'bench image',
  'bench audio',
  'bench text',
  'bench image graphs',
  'bench profile image',
];

describe('gpu-check', () => {
  it('runs every step, shows measurements, and ends with a table and a report', () => {
    const { status, stdout, stderr, table } = gpuCheck();
    expect(stderr).toBe('');
    expect(status).toBe(0);
    for (const step of STEPS) expect(table[step], step).toMatch(/^ok +\d+ {2}./);
    expect(Object.keys(table)).toEqual(expect.arrayContaining([...STEPS, 'PyTorch', 'compute-sanitizer']));
    expect(table.PyTorch).toMatch(/^skipped .*python3 has no torch/);
    expect(table['train tiny image']).toMatch(/loss 2.000 -> 1.500$/);
    expect(table['again with graphs']).toMatch(/the same bits twice$/);
    expect(stdout).toMatch(/NVIDIA H200, 580.* CPU cores, PyTorch none, bundle of abc123/);
    expect(stdout).toMatch(/bench.mjs text --preset base --device cuda --no-data/);
    const report = readFileSync(join(folder, 'results', 'report.txt'), 'utf8');
    expect(report).toMatch(/-DD2V_CUDA=ON -DD2V_CUDA_ARCHITECTURES=90a-real/);
    expect(report).toMatch(/parity.mjs .*image_base_a.json .*image_small_a.json/);
    expect(report).toMatch(/===== bench-image.log\nnode/);
  });

  it('measures PyTorch where it sees the GPU: first as it is, then compiled', () => {
    writeFileSync(join(tools, 'python3'), '#!/usr/bin/env bash\necho 2.11.0\n');
    const { status, stdout } = gpuCheck({
      D2V_GPU_CHECK_ONLY: 'ops|bench (text|compiled)',
      HANGS: 'bench.mjs text --compiled --updates 1',
    });
    expect(status).toBe(0);
    expect(stdout).toMatch(
      /bench.mjs text --eager --preset base[\s\S]*bench.mjs audio --compiled --preset base/,
    );
    expect(stdout).not.toMatch(/bench.mjs image --eager/);
    // Compiles beside the checks, and is ended before it can disturb a measurement.
    const ahead = readFileSync(join(folder, 'results', 'ahead.log'), 'utf8');
    expect(ahead).toMatch(/^node .*bench.mjs image --compiled --updates 1 /);
    expect(ahead).not.toMatch(/audio/);
  });

  it('goes on after a step that fails, shows the end of its log, and exits with 1', () => {
    const { status, stdout, table } = gpuCheck({ FAILS: 'parity.mjs' });
    expect(status).toBe(1);
    expect(stdout).toMatch(/parity.mjs --brief --device cuda [\s\S]*the last word/);
    expect(table['parity with fixtures']).toMatch(/^FAILED +\d+ {2}exit 3: the last word$/);
    expect(table['train tiny audio']).toMatch(/^ok/);
  });

  it('keeps what a step said that was cut off, leaves out what has no time, and exits with 2', () => {
    const limits = { D2V_GPU_CHECK_SECONDS: '4', D2V_GPU_CHECK_ONLY: 'bench' };
    const { status, table } = gpuCheck({ ...limits, HANGS: 'bench.mjs image' });
    expect(status).toBe(2);
    expect(table['bench image']).toMatch(/^cut off +\d+ {2}at: so far$/);
    expect(table['bench text']).toMatch(/^skipped +no time left$/);
  });

  it('keeps what compute-sanitizer has found', () => {
    stub(join(tools, 'compute-sanitizer'));
    mkdirSync(join(bundle, 'kernels', 'native', 'test'), { recursive: true });
    for (const name of ['attention', 'base', 'streams'])
      stub(join(bundle, 'kernels', 'native', 'test', `${name}_test`));
    const { status, table } = gpuCheck({ D2V_GPU_CHECK_ONLY: 'check', FAILS: 'racecheck.*conv_test' });
    expect(status).toBe(1);
    expect(table.memcheck).toMatch(/^ok .*no errors in \d+ programs/);
    expect(table.racecheck).toMatch(/^FAILED/);
    const memcheck = readFileSync(join(folder, 'results', 'memcheck.log'), 'utf8');
    expect(memcheck).toMatch(/memcheck streams: no errors/);
    expect(memcheck).not.toMatch(/memcheck base/);
    const log = readFileSync(join(folder, 'results', 'racecheck.log'), 'utf8');
    expect(log).toMatch(/racecheck attention: no errors/);
    expect(log).toMatch(/racecheck conv: FAILED/);
  });

  it('examines first those test programs that there are', () => {
    const first = /FIRST='([\w ]+)'/.exec(readFileSync(script, 'utf8'))![1]!.split(' ');
    for (const name of first)
      expect(
        existsSync(join(root, 'packages', 'cuda-kernels', 'native', 'test', `${name}_test.cc`)),
        name,
      ).toBe(true);
  });

  it('rehearses without a GPU and its tools, and says so', () => {
    for (const tool of ['nvidia-smi', 'nvcc']) rmSync(join(tools, tool));
    const { status, stdout, table } = gpuCheck({}, ['--rehearse', 'results']);
    expect(status).toBe(0);
    expect(states(table)).toEqual(new Set(['ok', 'skipped']));
    expect(stdout).toMatch(/EMULATED GPU: times and rates mean nothing[\s\S]*step +result/);
    const report = readFileSync(join(folder, 'results', 'report.txt'), 'utf8');
    expect(report).toMatch(/-DD2V_CUDA=EMULATE/);
    expect(report).toMatch(/bench.mjs image --preset tiny/);
    expect(report).not.toMatch(/image_base_a.json/);
  });

  it('says in one line what is missing and how to get it', () => {
    rmSync(join(tools, 'nvidia-smi'));
    const noDriver = gpuCheck();
    expect([noDriver.status, noDriver.stdout]).toEqual([1, '']);
    expect(noDriver.stderr).toMatch(/^gpu-check: nvidia-smi is not on the PATH: .*driver.*\n$/);
    cpSync(script, join(folder, 'gpu-check'));
    const noBundle = gpuCheck({}, [], join(folder, 'gpu-check'));
    expect([noBundle.status, noBundle.stdout]).toEqual([1, '']);
    expect(noBundle.stderr).toMatch(
      /^gpu-check: there is no .*gpu-bundle.tar.gz: make it with scripts\/gpu-bundle.*\n$/,
    );
    expect(gpuCheck({}, ['--fast']).stderr).toMatch(
      /^gpu-check: there is no option --fast: only --rehearse.*\n$/,
    );
  });
});

describe('gpu-bundle', () => {
  it('takes our packages and what they need, but nothing that builds them', async () => {
    const { bundledPackages } = await import(new URL('../../scripts/gpu-packages.mjs', import.meta.url).href);
    const found: { source: string; target: string; files?: string[] }[] = bundledPackages(root);
    const targets = found.map(({ target }) => target);
    expect(targets).toEqual(
      expect.arrayContaining([
        '@d2v/cli',
        '@d2v/modality-text',
        'sharp',
        'commander',
        'node-addon-api',
        'zod',
      ]),
    );
    expect(targets).not.toContain('cmake-js');
    expect(new Set(targets).size).toBe(targets.length);
    const kernels = found.find(({ target }) => target === '@d2v/cuda-kernels')!;
    for (const part of ['native/cuda/emulator', 'native/test', 'CMakeLists.txt']) {
      expect(kernels.files!.some((file) => part.startsWith(file))).toBe(true);
      expect(existsSync(join(kernels.source, part))).toBe(true);
    }
  });
});
