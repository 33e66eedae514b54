import type { Batch, Sample } from '@d2v/core';

/**
 * Pads series with zeros to the longest one: `source` f32 [B, steps, channels], `lengths` i32 [B] in steps.
 * Padding must not change features: the encoder marks those tokens and attention leaves them out.
 */
export function collateSeries(samples: Sample[]): Batch {
  const shapes = samples.map((sample) => sample.tensors.source!.shape as [steps: number, channels: number]);
  const steps = Math.max(...shapes.map(([n]) => n));
  const channels = shapes[0]![1];
  const data = new Float32Array(samples.length * steps * channels);
  samples.forEach((sample, b) => {
    data.set(sample.tensors.source!.data as Float32Array, b * steps * channels);
  });
  const labels = samples.every((sample) => sample.label !== undefined)
    ? Int32Array.from(samples, (sample) => sample.label!)
    : undefined;
  return {
    size: samples.length,
    tensors: {
      source: { data, shape: [samples.length, steps, channels] },
      lengths: { data: Int32Array.from(shapes, ([n]) => n), shape: [samples.length] },
    },
    labels,
    ids: samples.map((sample) => sample.id),
  };
}
