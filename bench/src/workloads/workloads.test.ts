import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { prepare } from '../bench.js';
import { updateFlops } from '../flops.js';
import { parseOptions } from '../options.js';
import { workloads } from './index.js';

/** Tokens that the student sees of a row, and GFLOP of an update with so many, by workload. */
const FIGURES: [modality: string, preset: string, kept: number, gigaflops: number][] = [
  ['image', 'tiny', 12, 43.4],
  ['image', 'base', 39, 441.7],
  ['audio', 'tiny', 62, 75.6],
  ['audio', 'base', 310, 1835.8],
  ['text', 'tiny', 66, 20.4],
  ['text', 'base', 266, 1968.7],
];

/** What `peers/` implements, of what no peer states in its configuration. */
const OF_ALL_PEERS = {
  loss_beta: 0,
  layer_norm_first: false,
  end_of_block_targets: false,
  instance_norm_target_layer: true,
  layer_norm_target_layer: false,
  batch_norm_target_layer: false,
  instance_norm_targets: false,
  recon_loss: 0,
  layerdrop: 0,
};

const load = (modality: string, preset: string) => {
  const options = parseOptions([modality, '--preset', preset]);
  if (options === 'help') throw new Error('not a request for help');
  return prepare(options, { log: () => {}, tell: () => {} });
};

describe('workloads', () => {
  it('have a figure each', () => {
    const names = Object.entries(workloads).flatMap(([modality, { presets }]) =>
      presets.map(({ preset }) => [modality, preset]),
    );
    expect(FIGURES.map(([modality, preset]) => [modality, preset])).toEqual(names);
  });

  it.each(FIGURES)(
    '%s %s stays the same size, whatever its preset becomes',
    async (modality, preset, kept, giga) => {
      const { config, workload } = await load(modality, preset);
      expect(updateFlops(workload.shape(config, kept)).total / 1e9).toBeCloseTo(giga, 0);
      expect(config.model).toMatchObject(OF_ALL_PEERS);
    },
  );

  it.each(FIGURES)('%s %s states its configuration in the words of its peer', async (modality, preset) => {
    const { config, workload } = await load(modality, preset);
    const source = ['data2vec.py', `data2vec_${modality}.py`]
      .map((name) => readFileSync(new URL(`../../peers/${name}`, import.meta.url), 'utf8'))
      .join('');
    for (const key of Object.keys(workload.peerConfig(config))) {
      if (key !== 'batch') expect(source).toMatch(new RegExp(`^    ${key}: `, 'm'));
    }
  });
});
