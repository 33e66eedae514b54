import type { DatasetStats } from '@d2v/core';
import { out } from '../../colors.js';
import { bytes, fitColumns, terminalWidth, wrap } from '../../format.js';
import { findDataset, installedModalities } from './find.js';
import type { DataOptions } from './options.js';
import { termsText } from './terms.js';

/** `d2v data list`: the datasets of the installed modalities and what is there of them, or all about one. */
export async function list(name: string | undefined, options: DataOptions): Promise<void> {
  if (name === undefined) await listAll(options);
  else await show(name, options);
}

async function listAll(options: DataOptions): Promise<void> {
  const { datasetStats, formatTable, isManaged } = await import('@d2v/core');
  const rows: {
    modality: string;
    name: string;
    size: string;
    license: string;
    description: string;
    state: string;
  }[] = [];
  for (const modality of await installedModalities(options)) {
    for (const [name, { size, license, description }] of Object.entries(modality.datasets)) {
      const managed = isManaged(modality.datasets[name]);
      const state = managed ? stateOf(await datasetStats(name)) : 'built in';
      rows.push({ modality: modality.name, name, size, license, description, state });
    }
  }
  if (options.json) {
    process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
    return;
  }
  const table = rows.map((row) => [row.name, row.modality, row.size, row.state]);
  const fitting = fitColumns([['dataset', 'modality', 'size', 'here'], ...table], [2, 3], terminalWidth());
  process.stdout.write(`${formatTable(fitting, 'left')}\n\n`);
  process.stdout.write('"d2v data list <dataset>" shows licence, terms, splits and options of one.\n');
}

/** What is there of a dataset, in some words. */
export function stateOf(stats: DatasetStats | null): string {
  if (!stats) return '';
  const named = (chosen: 'splits' | 'damaged') =>
    stats.prepared
      .filter((one) => one[chosen].length > 0)
      .map((one) => `${one.variant === 'default' ? '' : `${one.variant} `}(${one[chosen].join(', ')})`)
      .join(', ');
  const [whole, damaged] = [named('splits'), named('damaged')];
  const parts = [...(whole ? [`prepared ${whole}`] : []), ...(damaged ? [`damaged ${damaged}`] : [])];
  if (parts.length > 0) return parts.join('; ');
  return stats.raw.files > 0 ? `downloaded ${bytes(stats.raw.bytes)}` : 'begun';
}

async function show(name: string, options: DataOptions): Promise<void> {
  const { datasetOptionList, datasetStats } = await import('@d2v/core');
  const { modality, dataset } = await findDataset(name, options);
  const stats = await datasetStats(name);
  const own = datasetOptionList(dataset);
  const splits = Object.entries(dataset.splits ?? {});
  if (options.json) {
    const { description, license, size, terms, homepage, version } = dataset;
    const shown = {
      name,
      modality,
      description,
      license,
      size,
      terms,
      homepage,
      version,
      splits: dataset.splits ?? {},
    };
    process.stdout.write(`${JSON.stringify({ ...shown, options: own, here: stats }, null, 2)}\n`);
    return;
  }
  const lines = [termsText(dataset), ''];
  // What depends on the options is said by the terms.
  if (typeof dataset.access === 'object') lines.push(`Access: ${dataset.access.howTo}`, '');
  if (splits.length > 0) {
    lines.push('Splits (--splits a,b; all for every one):');
    const width = Math.max(...splits.map(([key]) => key.length));
    for (const [key, { description, default: taken }] of splits) {
      lines.push(
        `  ${key.padEnd(width)}  ${description}${taken === false ? out.dim(' (only when named)') : ''}`,
      );
    }
    lines.push('');
  }
  if (own.length > 0) {
    lines.push('Options:');
    const width = Math.max(...own.map(({ flag }) => flag.length));
    for (const { flag, description, default: value } of own) {
      lines.push(`  ${flag.padEnd(width)}  ${description} ${out.dim(`(default: ${JSON.stringify(value)})`)}`);
    }
    lines.push('');
  }
  lines.push(stats ? `Here: ${stateOf(stats)} in ${stats.folder}` : `Not here yet: d2v data prepare ${name}`);
  const width = terminalWidth();
  process.stdout.write(
    `${lines.flatMap((text) => text.split('\n').flatMap((line) => wrap(line, width))).join('\n')}\n`,
  );
}
