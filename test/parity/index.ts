/**
 * `pnpm parity <fixture.json> ...`: compares our model with values of the reference implementation and prints the largest
 * relative error of every quantity as JSON. Exit code 1 beyond the limits, 2 for anything that prevents the comparison.
 * `--device cuda` computes ours on a GPU, in f32.
 * `--plugin <package or path>` names a modality that is not among the installed ones; `--brief` leaves out what is fine.
 */
import { parseArgs } from 'node:util';
import { D2vError, resolveDevice } from '@d2v/core';
import type { ParityReport } from './report.js';
import { parity } from './run.js';

const USAGE =
  'usage: pnpm parity <fixture.json> [more ...] [--brief] [--device cuda] [--plugin <package or path>]';

function brief({ quantities, failed, ...rest }: ParityReport) {
  const kept = failed.map((name) => [name, quantities[name]]);
  return { ...rest, failed, quantities: Object.fromEntries(kept) };
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      plugin: { type: 'string', multiple: true },
      brief: { type: 'boolean' },
      device: { type: 'string' },
      json: { type: 'boolean' },
    },
  });
  if (positionals.length === 0) throw new D2vError(USAGE);
  const reports: ParityReport[] = [];
  const { plugin: plugins } = values;
  const device = resolveDevice(values.device ?? 'cpu');
  for (const path of positionals) reports.push(await parity(path, { plugins, device }));
  const shown = values.brief ? reports.map(brief) : reports;
  console.log(JSON.stringify(shown.length === 1 ? shown[0] : shown, null, 2));
  return reports.every((report) => report.pass) ? 0 : 1;
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    console.error(error instanceof D2vError ? `parity: ${error.message}` : error);
    process.exitCode = 2;
  },
);
