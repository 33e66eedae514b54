/** What the micro-benchmarks share: a row of the table, its timing, and random operands. */
import * as k from '../src/index.js';

/** An operation: compute-bound with `flops` per call, bandwidth-bound with `bytes`. */
export interface Row {
  name: string;
  flops?: number;
  bytes?: number;
  run: () => unknown;
}

/** Seconds of one call: the median of several, each long enough to be measured. */
export function time(run: () => unknown): number {
  const measure = (calls: number): number => {
    const start = process.hrtime.bigint();
    for (let i = 0; i < calls; i++) k.scope(() => void run());
    return Number(process.hrtime.bigint() - start) / 1e9;
  };
  measure(2);
  const calls = Math.max(1, Math.ceil(0.02 / Math.max(1e-6, measure(1))));
  const samples = Array.from({ length: 7 }, () => measure(calls) / calls).sort((a, b) => a - b);
  return samples[3]!;
}

export const KEY = { seed: 1, update: 2, stream: 3 };

/** Standard normal values. */
export function random(...shape: number[]): k.RawTensor {
  const t = k.empty(shape);
  k.normal_(t, 0, 1, KEY);
  return t;
}
