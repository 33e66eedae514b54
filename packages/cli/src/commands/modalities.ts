import { relative } from 'node:path';
import { out } from '../colors.js';
import { findModality, lookup, type PluginOptions } from './shared.js';

interface ModalitiesOptions extends PluginOptions {
  json?: boolean;
}

/** `d2v modalities`: lists plugins, or shows one. */
export async function modalities(name: string | undefined, options: ModalitiesOptions): Promise<void> {
  if (name === undefined) await list(options);
  else await show(name, options);
}

async function list(options: ModalitiesOptions): Promise<void> {
  const { describePlugin, discoverModalities, formatTable, MODALITY_API } = await import('@d2v/core');
  const where = lookup(options);
  const named = await Promise.all((options.plugin ?? []).map((spec) => describePlugin(spec, where)));
  const installed = await discoverModalities(where);
  const plugins = [...named, ...installed.filter(({ dir }) => !named.some((plugin) => plugin.dir === dir))];
  if (options.json) {
    process.stdout.write(`${JSON.stringify(plugins, null, 2)}\n`);
    return;
  }
  if (plugins.length === 0) {
    process.stdout.write(
      'No modality is installed here. Install one, e.g.: npm install @d2v/modality-image\n',
    );
    return;
  }
  const rows = plugins.map((plugin) => [
    plugin.modality,
    plugin.package,
    plugin.version,
    relative('', plugin.dir) || '.',
    plugin.api === MODALITY_API ? '' : out.red(`contract ${plugin.api}, needs ${MODALITY_API}`),
  ]);
  process.stdout.write(
    `${formatTable([['modality', 'package', 'version', 'folder', ''], ...rows], 'left')}\n\n`,
  );
  process.stdout.write('"d2v modalities <name>" shows presets and datasets of one.\n');
}

async function show(name: string, options: ModalitiesOptions): Promise<void> {
  const modality = await findModality(name, options);
  const first = modality.defaultPreset ?? Object.keys(modality.presets)[0];
  if (options.json) {
    const presets = Object.entries(modality.presets).map(([key, { description }]) => ({
      name: key,
      description,
    }));
    const shown = {
      name: modality.name,
      api: modality.api,
      defaultPreset: first,
      presets,
      datasets: modality.datasets,
    };
    process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`);
    return;
  }
  const lines = [out.bold(modality.name), '', 'Presets:'];
  const width = Math.max(
    ...[...Object.keys(modality.presets), ...Object.keys(modality.datasets)].map((key) => key.length),
  );
  for (const [key, preset] of Object.entries(modality.presets)) {
    lines.push(`  ${key.padEnd(width)}  ${preset.description}${key === first ? out.dim(' (default)') : ''}`);
  }
  const datasets = Object.entries(modality.datasets);
  lines.push('', datasets.length > 0 ? 'Datasets:' : 'Datasets: none built in; use --data <folder>');
  for (const [key, dataset] of datasets) {
    lines.push(`  ${key.padEnd(width)}  ${dataset.description}; ${dataset.size}; ${dataset.license}`);
  }
  process.stdout.write(`${lines.join('\n')}\n`);
}
