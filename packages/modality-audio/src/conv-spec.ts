/**
 * The convolutions of the feature encoder: `[[dim, kernel, stride], ...]`, or the same as the original writes it, an
 * expression of Python lists such as `[(512,10,5)] + [(512,3,2)]*4 + [(512,2,2)]*2`, read here by a parser of its own.
 */
import { D2vError } from '@d2v/core';

/** Channels, kernel and stride (both in inputs) of one convolution. */
export type ConvLayer = readonly [dim: number, kernel: number, stride: number];

/** What a spec may be written as. */
export type ConvSpec = string | readonly ConvLayer[];

/** The paper's: one feature per 20 ms at 16 kHz, each from 25 ms. */
export const PAPER_SPEC = '[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]';

/** More than anyone needs, so that a slip (`* 1000000`) is an error and not a memory problem. */
const MAX_LAYERS = 64;
const MAX_DIM = 65_536;

/** The convolutions of a spec. @throws D2vError if it is not one, with the place where it stops making sense */
export function parseConvSpec(spec: ConvSpec): ConvLayer[] {
  const layers = typeof spec === 'string' ? new SpecParser(spec).parse() : [...spec];
  if (layers.length === 0) throw new D2vError('feature_encoder_spec has no layers: give at least one');
  for (const [dim, kernel, stride] of layers) {
    if ([dim, kernel, stride].every((n) => Number.isInteger(n) && n >= 1 && n <= MAX_DIM)) continue;
    throw new D2vError(
      `feature_encoder_spec: (${dim}, ${kernel}, ${stride}) must be three whole numbers from 1 to ${MAX_DIM}`,
    );
  }
  return layers;
}

/** Features that a clip of so many samples gives, 0 if it is shorter than the receptive field. */
export function outputLength(layers: readonly ConvLayer[], samples: number): number {
  let length = samples;
  for (const [, kernel, stride] of layers) {
    if (length < kernel) return 0;
    length = Math.floor((length - kernel) / stride) + 1;
  }
  return length;
}

/** Samples that one feature is computed from. */
export function receptiveField(layers: readonly ConvLayer[]): number {
  return samplesFor(layers, 1);
}

/** The fewest samples that give so many features. */
export function samplesFor(layers: readonly ConvLayer[], features: number): number {
  return layers.reduceRight((length, [, kernel, stride]) => (length - 1) * stride + kernel, features);
}

/** Samples from one feature to the next. */
export function hopLength(layers: readonly ConvLayer[]): number {
  return layers.reduce((hop, [, , stride]) => hop * stride, 1);
}

/**
 * ```
 * sum     = product { "+" product }
 * product = factor { "*" factor }        exactly one factor is a list, the others are numbers
 * factor  = number | list | "(" sum ")"
 * list    = "[" [ triple { "," triple } [ "," ] ] "]"
 * triple  = "(" number "," number "," number [ "," ] ")", or the same in brackets
 * ```
 */
class SpecParser {
  private at = 0;

  constructor(private readonly text: string) {}

  parse(): ConvLayer[] {
    const layers = this.sum();
    if (this.peek() !== '') this.fail('"+", "*" or the end');
    return layers;
  }

  private sum(): ConvLayer[] {
    const layers = this.product();
    while (this.take('+')) layers.push(...this.product());
    if (layers.length > MAX_LAYERS) this.tooMany(layers.length);
    return layers;
  }

  private product(): ConvLayer[] {
    let times = 1;
    let list: ConvLayer[] | null = null;
    do {
      const start = this.at;
      const factor = this.factor();
      if (typeof factor === 'number') times *= factor;
      else if (list) this.fail('a number of repetitions', start);
      else list = factor;
    } while (this.take('*'));
    if (!list) this.fail('a list, e.g. [(512, 3, 2)]');
    if (list!.length * times > MAX_LAYERS) this.tooMany(list!.length * times);
    return Array.from({ length: times }, () => list!).flat();
  }

  private factor(): ConvLayer[] | number {
    const next = this.peek();
    if (next >= '0' && next <= '9' && next !== '') return this.number();
    if (this.take('(')) {
      const inner = this.sum();
      this.expect(')');
      return inner;
    }
    return this.list();
  }

  private list(): ConvLayer[] {
    this.expect('[', 'a list, e.g. [(512, 3, 2)]');
    const layers: ConvLayer[] = [];
    while (!this.take(']')) {
      layers.push(this.triple());
      if (this.take(',')) continue;
      this.expect(']', '"," or "]"');
      break;
    }
    return layers;
  }

  private triple(): ConvLayer {
    const round = this.take('(');
    if (!round) this.expect('[', 'a triple (dim, kernel, stride)');
    const dim = this.number();
    this.expect(',');
    const kernel = this.number();
    this.expect(',');
    const stride = this.number();
    this.take(',');
    this.expect(round ? ')' : ']');
    return [dim, kernel, stride];
  }

  private number(): number {
    this.peek();
    const digits = /^\d{1,9}/.exec(this.text.slice(this.at))?.[0];
    if (!digits) return this.fail('a whole number');
    this.at += digits.length;
    return Number(digits);
  }

  /** The next character that is no space, or '' at the end. */
  private peek(): string {
    while (/\s/.test(this.text[this.at] ?? '')) this.at++;
    return this.text[this.at] ?? '';
  }

  private take(char: string): boolean {
    if (this.peek() !== char) return false;
    this.at++;
    return true;
  }

  private expect(char: string, wanted = `"${char}"`): void {
    if (!this.take(char)) this.fail(wanted);
  }

  private fail(wanted: string, at = this.at): never {
    const found = at < this.text.length ? `"${this.text.slice(at, at + 12)}"` : 'the end';
    throw new D2vError(
      `feature_encoder_spec: expected ${wanted} at character ${at + 1} of "${this.text}", found ${found}`,
    );
  }

  private tooMany(count: number): never {
    throw new D2vError(`feature_encoder_spec has ${count} layers; at most ${MAX_LAYERS} are allowed`);
  }
}
