/** A second modality beside `waves`, as different from it as it can be, and configs of both. */

import type { JointConfig } from '../../config/joint.js';
import { inputLayer, resolveConfig } from '../../config/resolve.js';
import { modalityConfigBase, modalityConfigShape } from '../../data2vec/config.js';
import { BadSampleError } from '../../errors.js';
import { type DataSource, defineModality } from '../../modality/contract.js';
import { Philox } from '../../random.js';
import { collateFrames, FramesEncoder, model, sections, wavesModality } from './waves.js';

const FRAMES = 10;
const NUMBERS = 3;

/** Staircases that go up (class 0) or down (1). */
export function steps({ length = 26, bad = [] as number[], labelled = true } = {}): DataSource {
  return {
    length,
    name: 'steps',
    classes: labelled ? ['up', 'down'] : undefined,
    describe: (index) => `step ${index}`,
    async get(index, rng, mode) {
      if (bad.includes(index)) throw new BadSampleError(`${index}.step`, 'broken');
      const own = new Philox(7).fork('steps', index);
      const jitter = mode === 'train' ? rng.uniform(0, 0.1) : 0;
      const direction = index % 2 === 0 ? 1 : -1;
      const data = Float32Array.from(
        { length: FRAMES * NUMBERS },
        (_, i) => direction * (Math.floor(i / NUMBERS / 2) * 0.4 - 1) + own.normal(0, 0.1) + jitter,
      );
      const label = labelled ? { label: index % 2 } : {};
      return { tensors: { source: { data, shape: [FRAMES, NUMBERS] } }, ...label, id: index };
    },
  };
}

export const stepsModality = defineModality({
  ...wavesModality,
  name: 'steps',
  moduleUrl: import.meta.url,
  configSchema: modalityConfigBase.extend({
    prenet_depth: modalityConfigShape.prenet_depth.default(0),
  }),
  sizeUnit: undefined,
  createEncoder: (ctx) => new FramesEncoder(ctx, NUMBERS),
  openData: async () => steps(),
  openInputs: async (paths) => steps({ length: paths.length }),
  accepts: (file) => file.endsWith('.step'),
  collate: collateFrames,
});

export const bothModalities = [
  { ...wavesModality, accepts: (file: string) => file.endsWith('.wave') },
  stepsModality,
];

type Settings = { [section: string]: object };

/** A resolved config of both; sections of `settings` lie over the test's defaults. */
export function bothConfig(settings: Settings = {}): JointConfig {
  const encoder = model.modalities.waves;
  const base = {
    model: {
      ...model,
      modalities: {
        waves: encoder,
        steps: { ...encoder, mask_prob: 0.6, mask_length: 1, prenet_depth: 0, ema_local_encoder: true },
      },
    },
    data: { waves: { batch_size: 8, num_workers: 0 }, steps: { batch_size: 4, num_workers: 0 } },
    ...sections,
  };
  return resolveConfig({
    modalities: bothModalities,
    layers: [inputLayer(base as never), inputLayer(settings as never)],
  }) as JointConfig;
}
