import type { Parameter } from '../tensor/parameter.js';
import type { Shape } from '../tensor/tensor.js';

/** A contiguous piece of the arena whose parameters are treated alike. */
export interface Range {
  start: number;
  length: number;
  /** The teacher averages it. */
  averaged: boolean;
  /** Weight decay applies. */
  decay: boolean;
  group: string;
  owner: string | null;
}

/** Where a parameter lies. */
export interface Entry {
  name: string;
  shape: Shape;
  offset: number;
  size: number;
  averaged: boolean;
  decay: boolean;
  group: string;
  owner: string | null;
}

export interface LayoutOptions {
  /** Whether the teacher averages a parameter. Default: none. */
  averaged?: (name: string, p: Parameter) => boolean;
  /** The optimizer's group of a parameter that doesn't name one itself. Default: 'default'. */
  group?: (name: string, p: Parameter) => string;
  /** Who alone uses a parameter, e.g. one of several modalities; null: all share it. Default: null for all. */
  owner?: (name: string) => string | null;
  /** Apply weight decay to every parameter (what the original does in fact, see the docs). Default false. */
  decayAll?: boolean;
}

/** Whether weight decay applies by default: not to 1-D tensors, biases and ALiBi scales. */
export function decaysByDefault(name: string, shape: Shape): boolean {
  return shape.length !== 1 && !name.endsWith('.bias') && !name.includes('alibi_scale');
}

/** Parameters begin at multiples of 64 bytes. */
const ALIGNMENT = 16;

/** Gives every parameter its place: averaged ones first, then by decay, group and owner, in order of declaration. */
export function layOut(named: [string, Parameter][], options: LayoutOptions) {
  const entries = named.map(
    ([name, p]): Entry => ({
      name,
      shape: p.shape,
      offset: 0,
      size: p.size,
      averaged: options.averaged?.(name, p) ?? false,
      decay: options.decayAll || (p.decay ?? decaysByDefault(name, p.shape)),
      group: p.group ?? options.group?.(name, p) ?? 'default',
      owner: options.owner?.(name) ?? null,
    }),
  );
  const key = (e: Entry) => `${e.averaged ? 0 : 1} ${e.decay ? 0 : 1} ${e.group} ${e.owner ?? ''}`;
  const byRange = new Map<string, Entry[]>();
  for (const entry of entries) byRange.set(key(entry), [...(byRange.get(key(entry)) ?? []), entry]);
  const ranges: Range[] = [];
  let offset = 0;
  for (const name of [...byRange.keys()].sort()) {
    const members = byRange.get(name)!;
    const start = offset;
    for (const entry of members) {
      entry.offset = offset;
      offset += Math.ceil(entry.size / ALIGNMENT) * ALIGNMENT;
    }
    const { averaged, decay, group, owner } = members[0]!;
    ranges.push({ start, length: offset - start, averaged, decay, group, owner });
  }
  const averagedLength = ranges.reduce((n, r) => n + (r.averaged ? r.length : 0), 0);
  return { ranges, entries: new Map(entries.map((e) => [e.name, e])), length: offset, averagedLength };
}
