/** Flags of `d2v data`: those of every dataset, and those that a dataset brings. */
import type { DatasetOptions, ManagedDataset } from '@d2v/core';
import type { DataProgress } from '../../data-progress.js';
import { CliError } from '../../failure.js';
import type { Output } from '../../status-line.js';
import type { FindOptions } from './find.js';
import { askTerms } from './terms.js';

export interface DataOptions extends FindOptions {
  splits?: string;
  mirror?: string;
  from?: string;
  limitRate?: number;
  connections?: number;
  offline?: boolean;
  yes?: boolean;
  threads?: number;
  quiet?: boolean;
  json?: boolean;
}

/**
 * What core is to be told.
 * @param rest words of the command line behind the dataset's name that no flag of ours has taken
 */
export async function datasetOptions(
  dataset: ManagedDataset,
  options: DataOptions,
  rest: readonly string[],
  view: DataProgress,
  signal: AbortSignal,
): Promise<DatasetOptions> {
  const own = await ownOptions(dataset, rest);
  return {
    options: { ...own, ...(options.splits !== undefined && { splits: options.splits }) },
    mirror: options.mirror,
    from: options.from,
    limitRate: options.limitRate,
    connections: options.connections,
    offline: options.offline,
    threads: options.threads,
    ...terms(options.yes, view),
    on: view.on,
    signal,
  };
}

/** How terms are accepted: by --yes, or on a terminal by asking. */
export function terms(
  yes: boolean | undefined,
  view: DataProgress,
): Pick<DatasetOptions, 'acceptTerms' | 'confirmTerms'> {
  const interactive = process.stdin.isTTY && process.stderr.isTTY;
  return {
    acceptTerms: yes ?? false,
    confirmTerms: interactive
      ? (dataset) => {
          view.clear();
          return askTerms(dataset, process.stdin, process.stderr as Output & NodeJS.WritableStream);
        }
      : undefined,
  };
}

/** `--max-side 256` as the dataset's option `max_side`. */
async function ownOptions(
  dataset: ManagedDataset,
  rest: readonly string[],
): Promise<Record<string, unknown>> {
  const { readOption } = await import('@d2v/core');
  const values: Record<string, unknown> = {};
  for (let i = 0; i < rest.length; i++) {
    const [, name, given] = /^--([a-z][a-z0-9-]*)(?:=(.*))?$/s.exec(rest[i]!) ?? [];
    if (name === undefined)
      throw new CliError(`"${rest[i]}": what is that? (one dataset at a time; add --help for what there is)`);
    const next = rest[i + 1];
    let text = given ?? null;
    if (given === undefined && next !== undefined && !next.startsWith('--')) {
      text = next;
      i++;
    }
    Object.assign(values, readOption(dataset, name.replaceAll('-', '_'), text));
  }
  return values;
}
