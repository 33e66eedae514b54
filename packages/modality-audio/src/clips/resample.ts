/**
 * Conversion of the sampling rate by a windowed sinc, evaluated at the exact place of every output sample.
 *
 * The window is Kaiser's for 100 dB; the passband ends at 91 % of the lower of the two Nyquist frequencies and the stop
 * band begins at it, so nothing folds back that could be heard. A sample's value does not depend on what part of a file is
 * converted, so that reading by range gives the same numbers as reading it all.
 */

/** Attenuation in dB, and the width of the transition in parts of the lower rate. */
const ATTENUATION = 100;
const TRANSITION = 0.045;
/** Ratios with more phases (44 101 to 16 000 Hz) are interpolated between this many. */
const MOST_PHASES = 1024;

export class Resampler {
  /** Input samples on either side of an output sample that have a part in it. */
  readonly reach: number;
  private readonly up: number;
  private readonly down: number;
  private readonly phases: number;
  private readonly taps: number;
  private readonly table: Float32Array;

  /** From a rate to another, in Hz, whole numbers. */
  private constructor(from: number, to: number) {
    const divisor = gcd(from, to);
    this.up = to / divisor;
    this.down = from / divisor;
    const lower = Math.min(1, to / from);
    // Kaiser's estimate of the length, in samples of the lower rate.
    const length = (ATTENUATION - 7.95) / (2.285 * 2 * Math.PI * TRANSITION);
    this.reach = Math.ceil(length / 2 / lower);
    this.taps = 2 * this.reach;
    this.phases = Math.min(this.up, MOST_PHASES);
    this.table = this.design(lower, length / 2 / lower);
  }

  private static readonly made = new Map<string, Resampler>();

  /** The resampler between two rates; the last few are kept. */
  static get(from: number, to: number): Resampler {
    const key = `${from}>${to}`;
    let found = Resampler.made.get(key);
    Resampler.made.delete(key);
    found ??= new Resampler(from, to);
    Resampler.made.set(key, found);
    if (Resampler.made.size > 4) Resampler.made.delete(Resampler.made.keys().next().value!);
    return found;
  }

  /** Output samples for so many input samples. */
  outputLength(inputs: number): number {
    return Math.ceil((inputs * this.up) / this.down);
  }

  /** The input samples that outputs `start` to `start + count` are computed from; may reach beyond the ends. */
  inputRange(start: number, count: number): { start: number; end: number } {
    const before = Math.floor((start * this.down) / this.up) - this.reach + 1;
    const last = Math.floor(((start + count - 1) * this.down) / this.up);
    return { start: before, end: last + this.reach + 1 };
  }

  /**
   * Output samples `start` to `start + count`.
   * @param input samples from position `offset` on; what is outside counts as silence
   */
  run(input: Float32Array, offset: number, start: number, count: number): Float32Array {
    const { up, down, taps, reach, phases } = this;
    const out = new Float32Array(count);
    for (let n = 0; n < count; n++) {
      const place = (start + n) * down;
      const at = Math.floor(place / up) - reach + 1 - offset;
      const phase = ((place % up) * phases) / up;
      const row = Math.floor(phase);
      const share = phase - row;
      const low = this.dot(input, at, row * taps);
      out[n] = share === 0 ? low : low + share * (this.dot(input, at, (row + 1) * taps) - low);
    }
    return out;
  }

  private dot(input: Float32Array, at: number, row: number): number {
    const { table, taps } = this;
    const first = Math.max(0, -at);
    const last = Math.min(taps, input.length - at);
    let sum = 0;
    for (let k = first; k < last; k++) sum += input[at + k]! * table[row + k]!;
    return sum;
  }

  /** One row per phase (and one more, to interpolate to): the impulse response at that phase's distances, of sum 1. */
  private design(lower: number, half: number): Float32Array {
    const { taps, reach, phases } = this;
    const cutoff = lower * (1 - TRANSITION);
    const beta = 0.1102 * (ATTENUATION - 8.7);
    const scale = bessel(beta);
    const table = new Float32Array((phases + 1) * taps);
    const row = new Float64Array(taps);
    for (let phase = 0; phase <= phases; phase++) {
      let sum = 0;
      for (let k = 0; k < taps; k++) {
        const distance = k - reach + 1 - phase / phases;
        const inside = 1 - (distance / half) ** 2;
        row[k] = inside <= 0 ? 0 : (sinc(cutoff * distance) * bessel(beta * Math.sqrt(inside))) / scale;
        sum += row[k]!;
      }
      for (let k = 0; k < taps; k++) table[phase * taps + k] = row[k]! / sum;
    }
    return table;
  }
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** The modified Bessel function of order 0. */
function bessel(x: number): number {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > sum * 1e-17; k++) {
    term *= (x / 2 / k) ** 2;
    sum += term;
  }
  return sum;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
