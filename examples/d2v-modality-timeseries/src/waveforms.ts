/** A labelled dataset that needs no files: signals of six shapes with random period, phase, length and noise. */
import { Philox } from '@d2v/core';

export const WAVEFORMS = ['sine', 'square', 'sawtooth', 'chirp', 'bursts', 'random walk'] as const;

/** Series in the training and in the held-out part. */
export const WAVEFORM_COUNTS = { train: 4000, valid: 1000 };

const SEED = 20_221_214;

/**
 * Series number `index` of a part; the same every time. Its class is `index % 6`.
 * @returns 160 to 256 values
 */
export function waveform(part: 'train' | 'valid', index: number): Float32Array {
  const rng = stream(part, index);
  const length = drawLength(rng);
  const period = rng.uniform(14, 40);
  const phase = rng.uniform();
  const noise = rng.uniform(0.1, 0.5);
  const shape = shapeOf(WAVEFORMS[index % WAVEFORMS.length]!, length, period, rng);
  return Float32Array.from({ length }, (_, t) => shape(t / period + phase, t) + noise * rng.normal());
}

/** Number of values of a series, without making it. */
export const waveformLength = (part: 'train' | 'valid', index: number): number =>
  drawLength(stream(part, index));

const stream = (part: 'train' | 'valid', index: number) => new Philox(SEED).fork('waveform', part, index);
/** The first thing that is drawn. */
const drawLength = (rng: Philox) => 160 + rng.int(97);

/** A function of the number of periods passed and of time. */
function shapeOf(
  kind: (typeof WAVEFORMS)[number],
  length: number,
  period: number,
  rng: Philox,
): (turns: number, t: number) => number {
  const wave = (turns: number) => Math.sin(2 * Math.PI * turns);
  switch (kind) {
    case 'sine':
      return (turns) => wave(turns);
    case 'square':
      return (turns) => Math.sign(wave(turns));
    case 'sawtooth':
      return (turns) => 2 * (turns - Math.floor(turns)) - 1;
    case 'chirp':
      return (turns, t) => wave(turns * (0.5 + t / length));
    case 'bursts':
      return (turns, t) => wave(2 * turns) * (wave(t / (3 * period)) > 0 ? 1.2 : 0);
    case 'random walk': {
      let level = 0;
      return () => {
        level = 0.97 * level + 0.35 * rng.normal();
        return level;
      };
    }
    default:
      return kind satisfies never;
  }
}
