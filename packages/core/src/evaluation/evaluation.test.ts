import { describe, expect, it } from 'vitest';
import type { DataSource, Sample } from '../modality/contract.js';
import { Philox } from '../random.js';
import { type FeatureMatrix, hits } from './features.js';
import { knn } from './knn.js';
import { LabelledSet } from './labelled-set.js';
import { linearProbe } from './linear-probe.js';
import { LogisticProblem } from './logistic.js';
import { reportTable } from './report.js';
import { formatTable } from './table.js';

/** Gaussian blobs: class c has mean `distance` along axis c. */
function blobs(rows: number, dim: number, classes: number, distance: number, seed: number) {
  const rng = new Philox(seed).fork('blobs');
  const data = new Float32Array(rows * dim);
  const labels = new Int32Array(rows);
  for (let i = 0; i < rows; i++) {
    labels[i] = i % classes;
    for (let j = 0; j < dim; j++) data[i * dim + j] = rng.normal() + (j === labels[i] ? distance : 0);
  }
  return { x: { data, shape: [rows, dim] } satisfies FeatureMatrix, y: labels };
}

/** The definition, in plain loops. */
function knnByDefinition(
  train: FeatureMatrix,
  ty: Int32Array,
  test: FeatureMatrix,
  sy: Int32Array,
  k: number,
) {
  const dim = train.shape[1]!;
  const row = (m: FeatureMatrix, i: number) => m.data.subarray(i * dim, (i + 1) * dim);
  const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, v, i) => sum + v * b[i]!, 0);
  let top1 = 0;
  for (let q = 0; q < sy.length; q++) {
    const a = row(test, q);
    const all = Array.from(ty, (label, i) => {
      const b = row(train, i);
      return { label, similarity: dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)) };
    });
    all.sort((m, n) => n.similarity - m.similarity);
    const votes = new Map<number, number>();
    for (const { label, similarity } of all.slice(0, k)) {
      votes.set(label, (votes.get(label) ?? 0) + Math.exp(similarity / 0.07));
    }
    if ([...votes].sort((m, n) => n[1] - m[1])[0]![0] === sy[q]) top1++;
  }
  return top1 / sy.length;
}

describe('knn', () => {
  it('agrees with its definition', () => {
    const train = blobs(300, 12, 7, 2, 1);
    const test = blobs(100, 12, 7, 2, 2);
    const result = knn(train.x, train.y, test.x, test.y, { k: 20 });
    expect(result.top1).toBe(knnByDefinition(train.x, train.y, test.x, test.y, 20));
    expect(result.top5).toBeGreaterThan(result.top1);
    expect(result.top1).toBeGreaterThan(0.5);
  });

  it('works with fewer training samples than neighbours and with one class', () => {
    const train = blobs(3, 4, 1, 1, 1);
    expect(knn(train.x, train.y, train.x, train.y)).toEqual({ top1: 1, top5: 1 });
  });

  it('refuses what makes no sense', () => {
    const { x, y } = blobs(10, 4, 2, 1, 1);
    expect(() => knn(x, y.subarray(1), x, y)).toThrow('10 feature rows but 9 labels');
    expect(() => knn(x, y, { data: new Float32Array(0), shape: [0, 4] }, new Int32Array(0))).toThrow(
      'no labelled',
    );
    const bad = { ...x, data: Float32Array.from(x.data) };
    bad.data[3] = Number.NaN;
    expect(() => knn(bad, y, x, y)).toThrow('NaN');
    expect(() =>
      knn(
        x,
        Int32Array.from(y, () => -1),
        x,
        y,
      ),
    ).toThrow('without label');
  });
});

describe('linearProbe', () => {
  it('separates what is separable and says how strongly it regularised', () => {
    const train = blobs(500, 16, 10, 5, 1);
    const test = blobs(300, 16, 10, 5, 2);
    const result = linearProbe(train.x, train.y, test.x, test.y);
    expect(result.top1).toBeGreaterThan(0.97);
    expect(result.top5).toBeGreaterThanOrEqual(result.top1);
    expect(result.selection).toBeGreaterThan(0.95);
    expect(result).toEqual(linearProbe(train.x, train.y, test.x, test.y));
  });

  it('finds the optimum: the gradient vanishes', () => {
    const [rows, dim, classes, strength] = [120, 5, 3, 0.01];
    const { x, y } = blobs(rows, dim, classes, 1, 4);
    const problem = new LogisticProblem(x.data, y, dim, classes, 'cpu');
    const w = problem.solve(new Float64Array(classes * (dim + 1)), strength, 500);
    problem.dispose();
    const gradient = new Float64Array(w.length);
    for (let i = 0; i < classes * dim; i++) gradient[i] = strength * w[i]!;
    for (let row = 0; row < rows; row++) {
      const value = (c: number, j: number) => w[c * dim + j]! * x.data[row * dim + j]!;
      const logits = Array.from({ length: classes }, (_, c) => {
        let sum = w[classes * dim + c]!;
        for (let j = 0; j < dim; j++) sum += value(c, j);
        return Math.exp(sum);
      });
      const total = logits.reduce((a, b) => a + b, 0);
      for (let c = 0; c < classes; c++) {
        const d = (logits[c]! / total - (c === y[row] ? 1 : 0)) / rows;
        gradient[classes * dim + c] = gradient[classes * dim + c]! + d;
        for (let j = 0; j < dim; j++) {
          gradient[c * dim + j] = gradient[c * dim + j]! + d * x.data[row * dim + j]!;
        }
      }
    }
    for (const g of gradient) expect(Math.abs(g)).toBeLessThan(1e-4);
  });

  it('regularises strongly when there is nothing to learn', () => {
    const noise = blobs(400, 64, 2, 0, 3);
    const other = blobs(400, 64, 2, 0, 4);
    expect(linearProbe(noise.x, noise.y, other.x, other.y).selection).toBeLessThan(0.7);
    const constant = { data: new Float32Array(200), shape: [200, 1] };
    const labels = noise.y.subarray(0, 200);
    expect(linearProbe(constant, labels, constant, labels).top1).toBeCloseTo(0.5, 1);
  });

  it('takes seconds for 10 000 samples of width 384', { timeout: 60_000 }, () => {
    const train = blobs(10_000, 384, 10, 1, 1);
    const test = blobs(1000, 384, 10, 1, 2);
    const start = performance.now();
    const result = linearProbe(train.x, train.y, test.x, test.y);
    const seconds = (performance.now() - start) / 1000;
    expect(result.top1).toBeGreaterThan(0.25);
    expect(seconds).toBeLessThan(30);
  });
});

describe('hits', () => {
  it('ranks ties by index and never takes what was not guessed', () => {
    const none = Number.NEGATIVE_INFINITY;
    expect(hits([1, 1, 0], 0)).toEqual({ top1: true, top5: true });
    expect(hits([1, 1, 0], 1)).toEqual({ top1: false, top5: true });
    expect(hits([1, none], 1)).toEqual({ top1: false, top5: false });
    expect(hits([6, 5, 4, 3, 2, 1], 5)).toEqual({ top1: false, top5: false });
  });
});

describe('LabelledSet', () => {
  const source: DataSource = {
    length: 50,
    name: 'numbers',
    async get(index): Promise<Sample> {
      if (index === 7)
        throw Object.assign(new Error('x'), { name: 'BadSampleError', file: '7.png', reason: 'torn' });
      return {
        tensors: { source: { data: new Float32Array([index]), shape: [1] } },
        label: index % 10 === 9 ? -1 : index % 2,
        id: index,
      };
    },
    describe: (index) => `${index}`,
  };
  const collate = (samples: Sample[]) => ({
    size: samples.length,
    tensors: {},
    ids: samples.map((s) => s.id),
  });
  const extractor = {
    name: 'id',
    extract: (_: unknown, samples: readonly Sample[]) => Float32Array.from(samples, (s) => s.id),
  };

  it('chooses the same samples every time, leaves out damaged and unlabelled ones', async () => {
    const bad: string[] = [];
    const options = {
      limit: 50,
      seed: 1,
      bounds: { samples: 8, length: null },
      onBad: (file: string, reason: string) => bad.push(`${file} ${reason}`),
    };
    const set = new LabelledSet(source, { collate } as never, {} as never, options);
    const first = await set.features([extractor]);
    expect(first.labels).toHaveLength(44);
    expect([...first.features[0]!.data].sort((a, b) => a - b)).not.toContain(9);
    expect(await set.features([extractor])).toEqual(first);
    expect(bad).toEqual(['7.png torn']);
    let all = 0;
    for await (const samples of set.batches(false)) all += samples.length;
    expect(all).toBe(49);
    const few = new LabelledSet(source, { collate } as never, {} as never, { ...options, limit: 10 });
    const ids = (await few.features([extractor])).features[0]!.data;
    expect([...ids]).toEqual([...first.features[0]!.data.slice(0, ids.length)]);
  });

  it('puts samples of similar length together where batches are made by length', async () => {
    const sizes = () => Float64Array.from({ length: source.length }, (_, i) => 1 + (i % 5));
    const set = new LabelledSet({ ...source, sizes }, { collate } as never, {} as never, {
      limit: 50,
      seed: 1,
      bounds: { samples: null, length: 10 },
    });
    const batches: number[][] = [];
    const extract = (_: unknown, samples: readonly Sample[]) => {
      batches.push(samples.map(({ id }) => id));
      return new Float32Array(samples.length);
    };
    expect((await set.features([{ name: 'id', extract }])).labels).toHaveLength(44);
    const lengths = batches.map((ids) => ids.map((id) => sizes()[id]!));
    for (const batch of lengths) expect(batch.length * Math.max(...batch)).toBeLessThanOrEqual(10);
    expect(lengths.flat()).toEqual([...lengths.flat()].sort((a, b) => a - b));
    expect(batches.length).toBeLessThan(20);
  });
});

describe('tables', () => {
  it('align', () => {
    expect(formatTable([['a', 'b'], ['long', '1'], ['x']])).toBe('a     b\n----  -\nlong  1\nx');
  });
  it('show only the methods that were run', () => {
    const text = reportTable([{ name: 'pretrained', knn: { top1: 0.8934, top5: 1 } }]);
    expect(text).toContain('kNN top-1');
    expect(text).not.toContain('linear');
    expect(text).toContain('89.3 %');
  });
});
