/** Collects the error of every quantity and compares it with its limit. */
import { isNoise } from './limits.js';

export interface Quantity {
  /** Relative error: of the L2 norm for tensors, of the value for numbers. */
  error: number;
  limit: number | null;
  /** Largest absolute difference of an element. */
  abs: number;
  absLimit: number | null;
  ok: boolean;
}

export interface ParityReport {
  fixture: string;
  pass: boolean;
  /** Largest relative error per kind of quantity, and whose it is (where it is more than noise). */
  largest: Record<string, { error: number; abs: number; of: string }>;
  failed: string[];
  /** Compared elsewhere, but not in this fixture. */
  skipped: string[];
  /** In this fixture, but unknown here. */
  notCompared: string[];
  quantities: Record<string, Quantity>;
}

/** Limits: a relative one, an absolute one, or both. `either`: one of them is enough. */
export interface Limits {
  rel?: number;
  abs?: number;
  either?: boolean;
}

export class Comparison {
  readonly quantities: Record<string, Quantity> = {};
  readonly skipped: string[] = [];
  private readonly seen = new Set<string>();

  /** Compares arrays of equal length. */
  array(name: string, ours: ArrayLike<number>, theirs: ArrayLike<number>, limits: Limits): void {
    this.seen.add(name);
    if (ours.length !== theirs.length) {
      this.quantities[name] = { error: Infinity, limit: 0, abs: Infinity, absLimit: 0, ok: false };
      return;
    }
    let difference = 0;
    let reference = 0;
    let abs = 0;
    for (let i = 0; i < ours.length; i++) {
      const d = ours[i]! - theirs[i]!;
      difference += d * d;
      reference += theirs[i]! * theirs[i]!;
      if (!(Math.abs(d) <= abs)) abs = Math.abs(d);
    }
    const error = difference === 0 ? 0 : Math.sqrt(difference / reference);
    this.put(name, error, abs, limits);
  }

  /** Compares numbers. */
  number(name: string, ours: number | undefined, theirs: number | undefined, limits: Limits): void {
    if (theirs === undefined) {
      this.skipped.push(name);
      return;
    }
    this.seen.add(name);
    const abs = Math.abs((ours ?? Number.NaN) - theirs);
    this.put(name, abs === 0 ? 0 : abs / Math.abs(theirs), abs, limits);
  }

  /** Compares sets of names. */
  names(name: string, ours: Iterable<string>, theirs: readonly string[] | undefined): void {
    if (!theirs) {
      this.skipped.push(name);
      return;
    }
    const mine = new Set(ours);
    const same = mine.size === theirs.length && theirs.every((n) => mine.has(n));
    this.put(name, same ? 0 : 1, same ? 0 : 1, { abs: 0 });
  }

  skip(name: string): void {
    this.skipped.push(name);
  }

  report(fixture: string, inFixture: readonly string[]): ParityReport {
    const failed = Object.keys(this.quantities).filter((name) => !this.quantities[name]!.ok);
    const largest: ParityReport['largest'] = {};
    for (const [name, { error, abs }] of Object.entries(this.quantities)) {
      const kind = kindOf(name);
      if (isNoise(name)) continue;
      if (!largest[kind] || error > largest[kind].error) largest[kind] = { error, abs, of: name };
    }
    const notCompared = inFixture.filter((name) => !this.seen.has(name));
    const pass = failed.length === 0;
    return {
      fixture,
      pass,
      largest,
      failed,
      skipped: this.skipped,
      notCompared,
      quantities: this.quantities,
    };
  }

  private put(name: string, error: number, abs: number, { rel, abs: absLimit, either }: Limits): void {
    const relOk = rel === undefined ? null : error <= rel;
    const absOk = absLimit === undefined ? null : abs <= absLimit;
    const ok = either ? (relOk ?? false) || (absOk ?? false) : (relOk ?? true) && (absOk ?? true);
    this.quantities[name] = { error, limit: rel ?? null, abs, absLimit: absLimit ?? null, ok };
  }
}

/** `grad/blocks.0...` is a `grad`, `after/param/...` an `after/param`; everything of `mid/` is a kind of its own. */
function kindOf(name: string): string {
  const [first, second] = name.split('/');
  if (first === 'after' || first === 'after_10_steps' || first === 'variant') return `${first}/${second}`;
  if (first === 'mid') return name;
  return first === 'trace' ? `trace/${name.split('/').at(-1)}` : first!;
}
