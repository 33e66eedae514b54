import type { RunConfig } from '../config/schema.js';
import type { Data2Vec } from '../data2vec/index.js';
import { D2vError } from '../errors.js';
import type { Batch, HostTensor, Modality, Sample } from '../modality/contract.js';
import type { FeatureExtractor } from './labelled-set.js';

/** Which features of a network: the keys of the `eval` section. */
export type FeatureChoice = Pick<RunConfig['eval'], 'network' | 'pool' | 'layer'>;

/** Pooled features of a model, in evaluation mode. */
export function networkExtractor(
  name: string,
  model: Data2Vec,
  modality: string,
  choice: FeatureChoice,
): FeatureExtractor {
  const network = choice.network === 'teacher' && model.teacher ? 'teacher' : 'student';
  return {
    name,
    extract(batch) {
      const features = model.extractFeatures(batch, {
        modality,
        network,
        layer: choice.layer ?? 'last',
        extraTokens: true,
      });
      try {
        return model.poolFeatures(features, choice.pool)[0]!.data;
      } finally {
        for (const layer of features.layers) layer.dispose();
      }
    },
  };
}

/** What the plugin offers to compare with (raw pixels), or undefined. */
export function baselineExtractor(modality: Modality): FeatureExtractor | undefined {
  const { baseline } = modality;
  if (!baseline) return undefined;
  return {
    name: baseline.name,
    extract(_batch, samples) {
      const rows = samples.map((sample) => baseline.features(sample));
      const dim = rows[0]!.length;
      const data = new Float32Array(rows.length * dim);
      rows.forEach((row, i) => {
        if (row.length !== dim)
          throw new D2vError(`${baseline.name}: features of different lengths (${dim}, ${row.length})`);
        data.set(row, i * dim);
      });
      return data;
    },
  };
}

/** Features of every token of each sample, f32 [tokens, width] without extra tokens; for pictures. */
export function tokenFeatures(
  model: Data2Vec,
  modality: string,
  batch: Batch,
  samples: readonly Sample[],
  choice: FeatureChoice,
): HostTensor[] {
  const network = choice.network === 'teacher' && model.teacher ? 'teacher' : 'student';
  const features = model.extractFeatures(batch, { modality, network, layer: choice.layer ?? 'last' });
  try {
    const [pooled] = model.poolFeatures(features, 'none');
    const [, tokens = 0, dim = 0] = pooled!.shape;
    return samples.map((_sample, i) => ({
      data: pooled!.data.slice(i * tokens * dim, (i + 1) * tokens * dim),
      shape: [tokens, dim],
    }));
  } finally {
    for (const layer of features.layers) layer.dispose();
  }
}
