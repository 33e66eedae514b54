import type { Batch, Sample } from '@d2v/core';
import type { AudioDataConfig } from './data-config.js';

/**
 * Puts clips together: `source` f32 [B,S], and `padding` u8 [B,S] (1 = padding) if some are shorter. Clips for training
 * (those with a `crop`) are cut to the shortest instead, each at its random place, unless `enable_padding` is set.
 * A clip without a class gets label -1.
 */
export function collateClips(
  samples: readonly Sample[],
  data: Pick<AudioDataConfig, 'enable_padding'>,
): Batch {
  const training = samples.every(({ tensors }) => tensors.crop);
  const clips = training && !data.enable_padding ? cropToShortest(samples) : samples.map(waveform);
  const width = Math.max(...clips.map((clip) => clip.length));
  const source = new Float32Array(clips.length * width);
  const padding = new Uint8Array(clips.length * width);
  for (const [row, clip] of clips.entries()) {
    source.set(clip, row * width);
    padding.fill(1, row * width + clip.length, (row + 1) * width);
  }
  const shape = [clips.length, width];
  const labelled = samples.some((sample) => sample.label !== undefined);
  return {
    size: clips.length,
    tensors: padding.includes(1)
      ? { source: { data: source, shape }, padding: { data: padding, shape } }
      : { source: { data: source, shape } },
    labels: labelled ? Int32Array.from(samples, (sample) => sample.label ?? -1) : undefined,
    ids: samples.map((sample) => sample.id),
  };
}

function waveform({ tensors, id }: Sample): Float32Array {
  const source = tensors.source?.data;
  if (!(source instanceof Float32Array) || source.length === 0) {
    throw new Error(`sample ${id} has no waveform`);
  }
  return source;
}

function cropToShortest(samples: readonly Sample[]): Float32Array[] {
  const shortest = Math.min(...samples.map((sample) => waveform(sample).length));
  return samples.map((sample) => {
    const clip = waveform(sample);
    const places = clip.length - shortest + 1;
    const start = Math.min(places - 1, Math.floor(sample.tensors.crop!.data[0]! * places));
    return clip.subarray(start, start + shortest);
  });
}
