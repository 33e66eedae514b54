/** Stretches of a file as the model hears them: mono, at one rate, brought to mean 0 and variance 1. */
import { BadSampleError, type Philox } from '@d2v/core';
import type { AudioFile, AudioInfo } from '../decode/audio-file.js';
import { Resampler } from './resample.js';

/** Samples of a whole file at a rate. */
export function lengthAt({ sampleRate, length }: AudioInfo, rate: number): number {
  return sampleRate === rate ? length : Resampler.get(sampleRate, rate).outputLength(length);
}

/** Samples `start` to `start + count` at a rate. No more of the file is decoded than they need. */
export async function readAt(
  audio: AudioFile,
  rate: number,
  start: number,
  count: number,
): Promise<Float32Array> {
  if (audio.sampleRate === rate) return audio.read(start, count);
  const resampler = Resampler.get(audio.sampleRate, rate);
  const range = resampler.inputRange(start, count);
  const from = Math.max(0, range.start);
  const to = Math.min(audio.length, range.end);
  return resampler.run(await audio.read(from, to - from), from, start, count);
}

/** Added to the variance, as in the original: silence stays silence. */
const EPS = 1e-5;

/**
 * Checks a clip and, if asked for, brings it to mean 0 and (biased) variance 1, in place.
 * @throws BadSampleError if a sample is not a number
 */
export function prepareClip(samples: Float32Array, normalize: boolean, name: string): Float32Array {
  let sum = 0;
  for (const value of samples) sum += value;
  if (!Number.isFinite(sum)) throw new BadSampleError(name, 'has samples that are not (finite) numbers');
  if (!normalize) return samples;
  const mean = sum / samples.length;
  let squares = 0;
  for (const value of samples) squares += (value - mean) ** 2;
  const factor = 1 / Math.sqrt(squares / samples.length + EPS);
  for (let i = 0; i < samples.length; i++) samples[i] = (samples[i]! - mean) * factor;
  return samples;
}

/** Of the noise that training puts in the place of silence. */
const SILENCE_STD = 1e-3;

/**
 * Gives a clip without any sound a faint noise, in place. The norms of the feature encoder have nothing to divide by where
 * all is zero: their slopes there are so steep that one silent clip would drown the gradients of a whole batch.
 */
export function stirSilence(samples: Float32Array, rng: Philox): Float32Array {
  if (samples.every((value) => value === samples[0])) {
    for (let i = 0; i < samples.length; i++) samples[i] = SILENCE_STD * rng.normal();
  }
  return samples;
}
