import type { RngKey } from '@d2v/cuda-kernels';

const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9;
const W1 = 0xbb67ae85;
const TWO_32 = 4294967296;

/** The high 32 bits of the product of two u32, by 16-bit halves (a double holds only 53 bits). */
function mulHigh(a: number, b: number): number {
  const al = a & 0xffff;
  const ah = a >>> 16;
  const bl = b & 0xffff;
  const bh = b >>> 16;
  const mid = ah * bl + ((al * bl) >>> 16);
  const low = al * bh + (mid & 0xffff);
  return (ah * bh + Math.floor(mid / 65536) + (low >>> 16)) >>> 0;
}

/** One block of Philox 4x32-10: four words of counter `[c0, c1, c2, c3]` under key `[k0, k1]`, written to `out`. */
export function philoxBlock(
  out: Uint32Array,
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  k0: number,
  k1: number,
): void {
  for (let round = 0; round < 10; round++) {
    const n0 = mulHigh(M1, c2) ^ c1 ^ k0;
    const n1 = Math.imul(M1, c2);
    const n2 = mulHigh(M0, c0) ^ c3 ^ k1;
    const n3 = Math.imul(M0, c0);
    c0 = n0 >>> 0;
    c1 = n1 >>> 0;
    c2 = n2 >>> 0;
    c3 = n3 >>> 0;
    k0 = (k0 + W0) >>> 0;
    k1 = (k1 + W1) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** FNV-1a over the UTF-16 code units: a u32 that names a string, e.g. a parameter's random stream. */
export function hashString(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    h = Math.imul(h ^ (c & 0xff), 0x01000193);
    h = Math.imul(h ^ (c >>> 8), 0x01000193);
  }
  return h >>> 0;
}

/**
 * Counter-based random numbers on the host: the same words as the native kernels for the same (seed, stream, update), on
 * every machine. Nothing to save but the key and the position. Derive independent generators with `fork`, by name or
 * number, instead of sharing one: then no draw depends on what other code drew before.
 */
export class Philox {
  private readonly k0: number;
  private readonly k1: number;
  private block = 0;
  private lane = 4;
  private readonly words = new Uint32Array(4);
  private spare: number | undefined;

  /**
   * @param seed a whole number from 0 to 2^53 - 1
   * @param stream u32
   * @param update u32
   */
  constructor(
    readonly seed: number,
    readonly stream = 0,
    readonly update = 0,
  ) {
    if (!Number.isSafeInteger(seed) || seed < 0) {
      throw new RangeError(`the seed must be a whole number from 0 to 2^53 - 1, got ${seed}`);
    }
    this.k0 = seed >>> 0;
    this.k1 = Math.floor(seed / TWO_32) >>> 0;
  }

  /** The generator of a native key. */
  static of(key: RngKey): Philox {
    return new Philox(key.seed, key.stream, key.update);
  }

  /** The next word, uniform over 0 .. 2^32 - 1. */
  nextU32(): number {
    if (this.lane === 4) {
      const high = Math.floor(this.block / TWO_32);
      philoxBlock(this.words, this.block >>> 0, high, this.stream >>> 0, this.update >>> 0, this.k0, this.k1);
      this.block++;
      this.lane = 0;
    }
    return this.words[this.lane++]!;
  }

  /** Uniform in [lo, hi), 24 random bits (those of the native `uniform_`). */
  uniform(lo = 0, hi = 1): number {
    return lo + (hi - lo) * ((this.nextU32() >>> 8) * 2 ** -24);
  }

  /** Normal by Box-Muller; pairs as the native `normal_` makes them. */
  normal(mean = 0, std = 1): number {
    if (this.spare !== undefined) {
      const z = this.spare;
      this.spare = undefined;
      return mean + std * z;
    }
    const u1 = ((this.nextU32() >>> 8) + 1) * 2 ** -24;
    const u2 = (this.nextU32() >>> 8) * 2 ** -24;
    const r = Math.sqrt(-2 * Math.log(u1));
    this.spare = r * Math.sin(2 * Math.PI * u2);
    return mean + std * r * Math.cos(2 * Math.PI * u2);
  }

  /** A whole number from 0 to n - 1, each equally likely; n up to 2^32. */
  int(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > TWO_32) throw new RangeError(`int(n): 1 <= n <= 2^32, got ${n}`);
    const limit = TWO_32 - (TWO_32 % n);
    for (;;) {
      const word = this.nextU32();
      if (word < limit) return word % n;
    }
  }

  /** True with probability p. */
  chance(p: number): boolean {
    return this.uniform() < p;
  }

  /** Shuffles in place (Fisher-Yates) and returns its argument. */
  shuffle<A extends { length: number; [i: number]: unknown }>(items: A): A {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.int(i + 1);
      const t = items[i];
      items[i] = items[j];
      items[j] = t;
    }
    return items;
  }

  /** The numbers 0 .. n - 1 in random order. */
  permutation(n: number): Int32Array {
    const p = new Int32Array(n);
    for (let i = 0; i < n; i++) p[i] = i;
    return this.shuffle(p);
  }

  /** `count` different numbers from 0 .. n - 1, in random order. */
  choose(n: number, count: number): Int32Array {
    if (count > n) throw new RangeError(`choose: ${count} of ${n}`);
    const p = new Int32Array(n);
    for (let i = 0; i < n; i++) p[i] = i;
    for (let i = 0; i < count; i++) {
      const j = i + this.int(n - i);
      const t = p[i]!;
      p[i] = p[j]!;
      p[j] = t;
    }
    return p.slice(0, count);
  }

  /**
   * An independent generator that depends on this one's key and the labels only, never on what was drawn so far:
   * `rng.fork('augment', epoch, index)`.
   */
  fork(...labels: (string | number)[]): Philox {
    const words = new Uint32Array(4);
    let k0 = this.k0;
    let k1 = this.k1;
    let stream = this.stream >>> 0;
    let update = this.update >>> 0;
    for (const label of labels) {
      const text = typeof label === 'string';
      const low = text ? hashString(label) : label >>> 0;
      const high = text ? label.length : Math.floor(Math.abs(label) / TWO_32) >>> 0;
      // The last words say that this is a fork, so that it can't meet a block of the generator itself.
      philoxBlock(words, low, high, stream ^ 0x666f726b, update ^ (text ? 0x73 : 0x6e), k0, k1);
      k0 = words[0]!;
      k1 = words[1]!;
      stream = words[2]!;
      update = words[3]!;
    }
    return new Philox((k1 & 0x1fffff) * TWO_32 + k0, stream, update);
  }
}

/** Where an update's random keys come from: every call of `next` is a stream of its own. */
export class RngStream {
  private counter: number;

  /**
   * @param seed the run's seed
   * @param update number of the update
   * @param microBatch number of the micro-batch within the update (gradient accumulation)
   */
  constructor(
    readonly seed: number,
    readonly update: number,
    readonly microBatch = 0,
  ) {
    // A forward pass draws far fewer than 2^20 keys, and there are fewer than 2^11 micro-batches; the top bit is set so
    // that the streams of parameters' initial values and of the data are others.
    this.counter = (0x80000000 + ((microBatch % 2048) << 20)) >>> 0;
  }

  /** The key of the next random operation. */
  next(): RngKey {
    const stream = this.counter;
    this.counter = (this.counter + 1) >>> 0;
    return { seed: this.seed, update: this.update, stream };
  }

  /** A host generator on the next stream, for decisions taken in TypeScript (stochastic depth, layer drop). */
  host(): Philox {
    return Philox.of(this.next());
  }
}
