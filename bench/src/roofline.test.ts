import { describe, expect, it } from 'vitest';
import { type UpdateShape, updateFlops } from './flops.js';
import { bound, GPUS, gpuOfName, leastSeconds, updateParts } from './roofline.js';

const shape: UpdateShape = {
  samples: 64,
  clones: 16,
  tokens: 196,
  kept: 39,
  extra: 1,
  width: 768,
  mlpRatio: 4,
  studentBlocks: 12,
  teacherBlocks: 12,
  decoder: { width: 768, groups: 16, kernel: [3, 3], layers: 6, projections: [768] },
  featuresPerSample: 1e9,
  featureElements: 1e6,
  positionsPerToken: 1e6,
  positionLayers: 5,
};
const size = { parameters: 1e8, averaged: 8e7 };
const sum = (parts: { flops: number }[]) => parts.reduce((all, { flops }) => all + flops, 0);

describe('the roofline', () => {
  it("has the model's arithmetic, and that of attention besides", () => {
    const parts = updateParts(shape, size);
    const attention = parts.filter(({ name }) => name.endsWith('attention'));
    expect(attention).toHaveLength(3);
    expect(sum(parts) - sum(attention)).toBeCloseTo(updateFlops(shape).total, -6);
    // Two products forward and five backward, of 40 tokens in 64 x 16 rows and 12 blocks.
    const student = 64 * 16 * 40 * 40 * 768 * 12 * 14;
    const teacher = 64 * 197 * 197 * 768 * 12 * 4;
    expect(sum(attention)).toBe(student + teacher);
  });

  it('moves at least what an update must read and write', () => {
    const bytes = updateParts(shape, size).reduce((all, part) => all + part.bytes, 0);
    const weights = 4 * 2 * (4 * size.parameters + size.averaged);
    const activations = 2 * 64 * 16 * 40 * 768 * 12 * 10;
    expect(bytes).toBeGreaterThan(weights + activations);
    const none = updateParts(shape, { parameters: 0, averaged: 0 });
    expect(none.at(-1)!.bytes).toBe(0);
  });

  it('takes the slower of arithmetic and memory', () => {
    const gpu = { name: 'test', flopsPerSecond: 100, bytesPerSecond: 10 };
    expect(bound({ name: '', flops: 200, bytes: 10 }, gpu)).toEqual({ seconds: 2, by: 'arithmetic' });
    expect(bound({ name: '', flops: 200, bytes: 30 }, gpu)).toEqual({ seconds: 3, by: 'memory' });
    for (const { flopsPerSecond, bytesPerSecond } of Object.values(GPUS))
      expect(flopsPerSecond / bytesPerSecond).toBeGreaterThan(100);
  });

  it('adds up the parts, each at the rate that bounds it', () => {
    const parts = [
      { name: 'products', flops: 6, bytes: 1 },
      { name: 'copies', flops: 0, bytes: 8 },
    ];
    expect(leastSeconds(parts, { flopsPerSecond: 2, bytesPerSecond: 4 })).toBe(3 + 2);
  });

  it('knows GPUs by the names that drivers give them, and only those it has figures of', () => {
    expect(gpuOfName('NVIDIA H200')).toBe(GPUS.h200);
    expect(gpuOfName('NVIDIA H100 80GB HBM3')).toBe(GPUS.h100);
    expect(gpuOfName('NVIDIA A100-SXM4-80GB')).toBe(GPUS.a100);
    for (const name of ['NVIDIA H100 PCIe', 'NVIDIA A100-SXM4-40GB', 'emulated'])
      expect(gpuOfName(name)).toBeNull();
  });
});
