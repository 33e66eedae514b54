import { readFileSync } from 'node:fs';
import { cpus, freemem, release, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import { out } from '../colors.js';
import { EXIT } from '../failure.js';
import { type Finding, gpuFindings } from './doctor-gpus.js';
import { lookup, type PluginOptions } from './shared.js';

interface DoctorOptions extends PluginOptions {
  json?: boolean;
  seconds: number;
}

type Core = typeof import('@d2v/core');

/** `d2v doctor`: says what is here, what it costs and what to do. @returns the exit code */
export async function doctor(options: DoctorOptions): Promise<number> {
  const findings: Finding[] = [...machine()];
  try {
    const core = await import('@d2v/core');
    findings.push(...versions(core), ...kernels(core, options.seconds), ...(await plugins(core, options)));
  } catch (error) {
    const [line] = String((error as Error).message).split('\n');
    findings.push({
      state: 'bad',
      topic: 'kernels',
      text: `the native addon does not load: ${line}`,
      remedy:
        'build it where @d2v/cuda-kernels is installed (a C++ compiler and CMake are needed), then try again',
    });
  }
  if (options.json) process.stdout.write(`${JSON.stringify(findings, null, 2)}\n`);
  else process.stdout.write(`${render(findings)}\n`);
  return findings.some(({ state }) => state === 'bad') ? EXIT.failure : EXIT.ok;
}

function render(findings: readonly Finding[]): string {
  const marks: Record<Finding['state'], string> = {
    ok: out.green('ok  '),
    warn: out.yellow('note'),
    bad: out.red('BAD '),
  };
  const width = Math.max(...findings.map(({ topic }) => topic.length));
  return findings
    .map(({ state, topic, text, remedy }) => {
      const line = `${marks[state]}  ${topic.padEnd(width)}  ${text}`;
      return remedy ? `${line}\n${' '.repeat(width + 8)}-> ${remedy}` : line;
    })
    .join('\n');
}

function machine(): Finding[] {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const recent = major > 20 || (major === 20 && minor >= 19);
  const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  const { length } = cpus();
  return [
    {
      state: recent ? 'ok' : 'bad',
      topic: 'Node',
      text: `${process.version} on ${process.platform} ${release()} ${process.arch}`,
      ...(!recent && { remedy: 'install Node 20.19 or newer' }),
    },
    { state: 'ok', topic: 'CPU', text: `${cpus()[0]?.model.trim() ?? 'unknown'}, ${length} cores` },
    { state: 'ok', topic: 'memory', text: `${gib(totalmem())}, ${gib(freemem())} free` },
  ];
}

function versions(core: Core): Finding[] {
  const version = (specifier: string): string => {
    try {
      const file = fileURLToPath(import.meta.resolve(`${specifier}/package.json`));
      return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
    } catch {
      return 'unknown';
    }
  };
  const own = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  const { abi } = core.raw.deviceInfo();
  const text = `cli ${own.version}, core ${version('@d2v/core')}, plugin contract ${core.MODALITY_API}, addon ABI ${abi}`;
  return [{ state: 'ok', topic: 'versions', text }];
}

function kernels(core: Core, seconds: number): Finding[] {
  const info = core.raw.deviceInfo();
  const speed = gemmSpeed(core, seconds);
  const builtin = /builtin/i.test(info.gemm);
  // The built-in product is written for AVX2, where it is at least level with oneDNN; the wider registers are oneDNN's.
  const slow = builtin && /avx512/i.test(info.isa);
  const comment = slow
    ? ' (oneDNN is about twice as fast on AVX-512, and so is training)'
    : builtin
      ? ' (on this CPU at least level with oneDNN)'
      : '';
  const cores = cpus().length;
  return [
    ...gpuFindings(info.cuda, core.raw.cudaGemmLibrary),
    {
      state: info.threads < cores ? 'warn' : 'ok',
      topic: 'threads',
      text: `${info.threads} of ${cores} cores, ${info.isa}`,
      ...(info.threads < cores && { remedy: 'D2V_THREADS or --set common.threads=<n> changes it' }),
    },
    {
      state: slow ? 'warn' : 'ok',
      topic: 'GEMM',
      text: `${info.gemm}: ${speed.toFixed(0)} GFLOP/s in float32${comment}`,
      ...(slow && { remedy: 'install oneDNN (Debian, Ubuntu: libdnnl-dev) and rebuild the addon' }),
    },
  ];
}

/** Best rate of a matrix product of the model's sizes. */
function gemmSpeed({ raw }: Core, seconds: number): number {
  const [rows, inner, columns] = [1024, 768, 768];
  let best = 0;
  raw.scope(() => {
    const x = raw.full([rows, inner], 0.5);
    const w = raw.full([columns, inner], 0.5);
    const end = performance.now() + seconds * 1000;
    for (let round = 0; round < 3 || performance.now() < end; round++) {
      const start = performance.now();
      for (let i = 0; i < 4; i++) raw.linear(x, w).y.dispose();
      best = Math.max(best, (4 * 2 * rows * inner * columns) / (performance.now() - start) / 1e6);
    }
  });
  return best;
}

async function plugins(core: Core, options: DoctorOptions): Promise<Finding[]> {
  const found = await core.discoverModalities(lookup(options));
  const findings: Finding[] = found.map((plugin) => {
    const fits = plugin.api === core.MODALITY_API;
    return {
      state: fits ? 'ok' : 'warn',
      topic: 'modality',
      text: `${plugin.modality}: ${plugin.package} ${plugin.version}`,
      ...(!fits && {
        remedy: `made for contract ${plugin.api}: install a version for contract ${core.MODALITY_API}`,
      }),
    };
  });
  if (findings.length === 0) {
    findings.push({
      state: 'warn',
      topic: 'modality',
      text: 'none is installed here',
      remedy: 'npm install one, e.g. @d2v/modality-image',
    });
  }
  findings.push({ state: 'ok', topic: 'data', text: `downloads are kept in ${core.dataCacheDir()}` });
  return findings;
}
