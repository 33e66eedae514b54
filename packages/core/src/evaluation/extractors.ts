import type { Data2Vec } from '../data2vec/model.js';
import { D2vError } from '../errors.js';
import type { Batch, HostTensor, Modality } from '../modality/contract.js';
import { batchFeatures, type FeatureChoice } from '../training/feature-batches.js';
import type { FeatureExtractor } from './labelled-set.js';

/** Pooled features of a model, in evaluation mode. A model without teacher gives its student's. */
export function networkExtractor(
  name: string,
  model: Data2Vec,
  modality: string,
  choice: FeatureChoice,
): FeatureExtractor {
  const network = model.teacher ? choice.network : 'student';
  return { name, extract: (batch) => batchFeatures(model, modality, batch, { ...choice, network }).data };
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
  choice: FeatureChoice,
): HostTensor[] {
  const { data, shape } = batchFeatures(model, modality, batch, { ...choice, pool: 'none' });
  const [samples = 0, tokens = 0, dim = 0] = shape;
  return Array.from({ length: samples }, (_, i) => ({
    data: data.slice(i * tokens * dim, (i + 1) * tokens * dim),
    shape: [tokens, dim],
  }));
}
