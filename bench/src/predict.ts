import { Data2Vec } from '@d2v/core';
import type { Bench } from './bench.js';
import { updateFlops } from './flops.js';
import { bound, type Gpu, leastSeconds, updateParts } from './roofline.js';
import { modelSize } from './runner.js';
import { formatTable } from './table.js';

const MASKS = 8;

/** The least that one update of a workload can take on a GPU, as a table: one line per part. Runs on the CPU. */
export function predict({ modality, workload, config, options }: Bench, gpu: Gpu): string {
  const model = Data2Vec.create({ config: config.model, modalities: [modality], seed: config.common.seed });
  const batch = workload.batch(config, 1);
  const kept = Array.from({ length: MASKS }, (_, update) => {
    const plan = model.plan(batch, { modality: modality.name, update, firstSample: 0 });
    return plan.mask.keptPerRow;
  });
  const size = modelSize(model);
  model.dispose();

  const shape = workload.shape(config, kept.reduce((sum, n) => sum + n, 0) / MASKS);
  const parts = updateParts(shape, size).map((part) => ({ ...part, ...bound(part, gpu) }));
  const seconds = leastSeconds(parts, gpu);
  const { total } = updateFlops(shape);
  const rows = parts.map(({ name, flops, bytes, seconds: time, by }) => [
    name,
    flops === 0 ? '' : (flops / 1e12).toFixed(2),
    (bytes / 1e9).toFixed(2),
    (time * 1e3).toFixed(2),
    by,
  ]);
  const sum = (of: 'flops' | 'bytes') => parts.reduce((all, part) => all + part[of], 0);
  const last = [
    'update',
    (sum('flops') / 1e12).toFixed(2),
    (sum('bytes') / 1e9).toFixed(2),
    (seconds * 1e3).toFixed(2),
    '',
  ];
  const about =
    `${options.modality} ${workload.preset}, ${shape.samples} samples x ${shape.clones} masks, ` +
    `${shape.tokens} tokens of which ${Math.round(shape.kept)} are seen, ${(size.parameters / 1e6).toFixed(0)} M parameters`;
  return [
    `${about}; ${gpu.name}`,
    '',
    formatTable([['', 'TFLOP', 'GB', 'ms', 'bound by'], ...rows, last]),
    '',
    `at this bound: ${Math.round(shape.samples / seconds)} samples/s, model FLOPs at ${Math.round((100 * total) / seconds / gpu.flopsPerSecond)} % of the peak`,
  ].join('\n');
}
