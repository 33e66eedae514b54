import * as k from '@d2v/cuda-kernels';
import { describe, expect, it } from 'vitest';
import { Philox } from '../random.js';
import { TargetBuilder, type TargetConfig } from './targets.js';

const [B, E, T, D] = [2, 1, 5, 4];
const off: TargetConfig = {
  average_top_k_layers: 2,
  batch_norm_target_layer: false,
  instance_norm_target_layer: false,
  layer_norm_target_layer: false,
  layer_norm_targets: false,
  instance_norm_targets: false,
};

type Cube = number[][][];

/** Three layers [B, E+T, D] of random numbers. */
function layers(): Cube[] {
  const rng = new Philox(3);
  const cube = () =>
    Array.from({ length: B }, () =>
      Array.from({ length: E + T }, () => Array.from({ length: D }, () => rng.normal(1, 2))),
    );
  return [cube(), cube(), cube()];
}

const raw = (cube: Cube) => k.fromArray(Float32Array.from(cube.flat(2)), [B, E + T, D]);

/** Normalises groups of elements of a [B,T,D] cube; `group` names an element's group. */
function normalise(cube: Cube, group: (b: number, t: number, d: number) => string): Cube {
  const groups = new Map<string, number[]>();
  cube.forEach((rows, b) => {
    rows.forEach((row, t) => {
      row.forEach((v, d) => {
        groups.set(group(b, t, d), [...(groups.get(group(b, t, d)) ?? []), v]);
      });
    });
  });
  return cube.map((rows, b) =>
    rows.map((row, t) =>
      row.map((v, d) => {
        const all = groups.get(group(b, t, d))!;
        const mean = all.reduce((x, y) => x + y) / all.length;
        const variance = all.reduce((x, y) => x + (y - mean) ** 2, 0) / all.length;
        return (v - mean) / Math.sqrt(variance + 1e-5);
      }),
    ),
  );
}

const norms = {
  batch: (c: Cube) => normalise(c, (_b, _t, d) => `${d}`),
  instance: (c: Cube) => normalise(c, (b, _t, d) => `${b} ${d}`),
  layer: (c: Cube) => normalise(c, (b, t) => `${b} ${t}`),
};

/** The target in plain numbers. */
function expected(config: TargetConfig, all: Cube[]): number[] {
  const top = all.slice(-config.average_top_k_layers).map((layer) => {
    let c = layer.map((rows) => rows.slice(E));
    if (config.batch_norm_target_layer) c = norms.batch(c);
    if (config.instance_norm_target_layer) c = norms.instance(c);
    if (config.layer_norm_target_layer) c = norms.layer(c);
    return c;
  });
  let mean = top[0]!.map((rows, b) =>
    rows.map((row, t) => row.map((_, d) => top.reduce((sum, c) => sum + c[b]![t]![d]!, 0) / top.length)),
  );
  if (config.layer_norm_targets) mean = norms.layer(mean);
  if (config.instance_norm_targets) mean = norms.instance(mean);
  return mean.flat(2);
}

describe('TargetBuilder', () => {
  const flags = [
    'batch_norm_target_layer',
    'instance_norm_target_layer',
    'layer_norm_target_layer',
    'layer_norm_targets',
    'instance_norm_targets',
  ] as const;
  const cases = Array.from({ length: 32 }, (_, bits) => ({
    ...off,
    ...Object.fromEntries(flags.map((flag, i) => [flag, ((bits >> i) & 1) === 1])),
    average_top_k_layers: (bits % 3) + 1,
  }));

  it.each(cases)('averages normalised layers: %o', (config) => {
    const all = layers();
    const builder = new TargetBuilder(config, 3);
    for (const [i, layer] of all.entries()) {
      const native = raw(layer);
      builder.add(i, native, E);
      native.dispose();
    }
    const target = builder.finish();
    expect(target.shape).toEqual([B, T, D]);
    const ours = k.toArray(target) as Float32Array;
    for (const [i, value] of expected(config, all).entries()) expect(ours[i]).toBeCloseTo(value, 4);
    target.dispose();
  });

  it('takes all layers when fewer than asked for are there, and ignores the lower ones', () => {
    const few = new TargetBuilder({ ...off, average_top_k_layers: 9 }, 3);
    expect([0, 1, 2].map((i) => few.wants(i))).toEqual([true, true, true]);
    const top = new TargetBuilder(off, 3);
    expect([0, 1, 2].map((i) => top.wants(i))).toEqual([false, true, true]);
  });
});
