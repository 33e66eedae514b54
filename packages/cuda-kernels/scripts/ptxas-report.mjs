import { spawnSync } from 'node:child_process';

/**
 * Kernels that may spill, by their demangled names, and why. Everything else may not: a spill costs traffic in the kernels that
 * have least room for it.
 */
const CHECKS = 'f32, for checks';
const ODD = 'rows of odd sizes or addresses, value by value';
const MAY_SPILL = [
  [/^correlate<float, /, CHECKS],
  [/^layerNorm(Backward)?Rows<Bf16, 1, 32, /, ODD],
  [/^layerNorm(Backward)?Rows<float, /, CHECKS],
];

/**
 * What `ptxas -v` said of each kernel: mangled name, registers per thread, bytes of stack, spilled (stores and loads) and of
 * static shared memory. Throws when a kernel's lines are not as expected, so that no spill is overlooked.
 */
export function parsePtxas(log) {
  const kernels = [];
  for (const part of log.split(/Compiling entry function /).slice(1)) {
    const name = /^'(\w+)' for '\w+'/.exec(part)?.[1];
    const frame = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(part);
    const used = /Used (\d+) registers(.*)/.exec(part);
    if (!name || !frame || !used) {
      throw new Error(`ptxas -v wrote something unknown about a kernel: ${part.split('\n', 1)[0]}`);
    }
    kernels.push({
      name,
      registers: Number(used[1]),
      stack: Number(frame[1]),
      stores: Number(frame[2]),
      loads: Number(frame[3]),
      shared: Number(/(\d+) bytes smem/.exec(used[2])?.[1] ?? 0),
    });
  }
  return kernels;
}

/** Readable names, without namespaces and parameters; as they were where there is no c++filt. */
export function kernelNames(mangled) {
  const { status, stdout } = spawnSync('c++filt', { input: mangled.join('\n'), encoding: 'utf8' });
  if (status !== 0) return mangled;
  return stdout
    .trim()
    .split('\n')
    .map((line) => line.replace(/d2v::cuda::|\(anonymous namespace\)::|^void /g, '').replace(/\(.*$/, ''));
}

/** Why a kernel of that name may spill, or null. */
export function maySpill(name) {
  return MAY_SPILL.find(([pattern]) => pattern.test(name))?.[1] ?? null;
}

/** Exceptions that none of these kernels needs, as regular expressions. */
export function needless(spilling) {
  return MAY_SPILL.map(([pattern]) => pattern).filter(
    (pattern) => !spilling.some((name) => pattern.test(name)),
  );
}

/**
 * One line per kernel, registers per architecture, spilled bytes (stores/loads) behind them. `rows`: [{ file, name,
 * architecture, registers, stores, loads, shared }].
 */
export function kernelTable(rows, architectures) {
  const kernels = new Map();
  for (const row of rows) {
    const key = `${row.file} ${row.name}`;
    kernels.set(key, { ...kernels.get(key), [row.architecture]: row });
  }
  const cell = (row) => {
    if (!row) return '-';
    const spills = row.stores || row.loads ? ` spills ${row.stores}/${row.loads}` : '';
    return `${row.registers}${spills}${row.shared ? ` smem ${row.shared}` : ''}`;
  };
  const lines = [...kernels].map(([key, by]) => [...architectures.map((a) => cell(by[a])), key]);
  const table = [
    [...architectures, 'file, kernel (registers per thread; shared memory is dynamic)'],
    ...lines,
  ];
  const widths = architectures.map((_, i) => Math.max(...table.map((line) => line[i].length)));
  return `${table.map((line) => line.map((text, i) => (i < widths.length ? text.padEnd(widths[i]) : text)).join('  ')).join('\n')}\n`;
}
