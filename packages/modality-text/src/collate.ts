import type { Batch, HostTensor, Sample } from '@d2v/core';
import { PAD } from './special-tokens.js';

/**
 * Puts samples together: `source` i32 [B,T], filled up with `<pad>` at the end, and `padding` u8 [B,T] if there is any.
 * A sample without a class gets label -1.
 */
export function collateText(samples: readonly Sample[]): Batch {
  const rows = samples.map((sample) => sample.tensors.source!.data as Int32Array);
  const tokens = rows.reduce((most, row) => Math.max(most, row.length), 0);
  const shape = [samples.length, tokens];
  const source = new Int32Array(samples.length * tokens).fill(PAD);
  const padding = new Uint8Array(source.length);
  for (const [index, row] of rows.entries()) {
    source.set(row, index * tokens);
    padding.fill(1, index * tokens + row.length, (index + 1) * tokens);
  }
  const tensors: Record<string, HostTensor> = { source: { data: source, shape } };
  if (padding.includes(1)) tensors.padding = { data: padding, shape };
  const labelled = samples.some((sample) => sample.label !== undefined);
  return {
    size: samples.length,
    tensors,
    labels: labelled ? Int32Array.from(samples, (sample) => sample.label ?? -1) : undefined,
    ids: samples.map((sample) => sample.id),
  };
}
