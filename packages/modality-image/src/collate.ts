import type { Batch, Sample } from '@d2v/core';

/** Puts pictures of one size together: `source` f32 [B, 3, H, W]. A sample without a class gets label -1. */
export function collateImages(samples: readonly Sample[]): Batch {
  const shape = samples[0]?.tensors.source?.shape ?? [3, 0, 0];
  const size = shape.reduce((a, b) => a * b, 1);
  const data = new Float32Array(samples.length * size);
  for (const [index, sample] of samples.entries()) {
    const source = sample.tensors.source;
    if (source?.data.length !== size) {
      throw new Error(
        `sample ${sample.id} has ${source?.data.length ?? 0} values, the first of its batch ${size}`,
      );
    }
    data.set(source.data, index * size);
  }
  const labelled = samples.some((sample) => sample.label !== undefined);
  return {
    size: samples.length,
    tensors: { source: { data, shape: [samples.length, ...shape] } },
    labels: labelled ? Int32Array.from(samples, (sample) => sample.label ?? -1) : undefined,
    ids: samples.map((sample) => sample.id),
  };
}
