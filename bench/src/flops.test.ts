import { describe, expect, it } from 'vitest';
import { type UpdateShape, updateFlops } from './flops.js';

const tiny: UpdateShape = {
  samples: 32,
  clones: 4,
  tokens: 64,
  kept: 12,
  extra: 1,
  width: 192,
  mlpRatio: 4,
  studentBlocks: 6,
  teacherBlocks: 6,
  decoder: { width: 192, groups: 16, kernel: [3, 3], layers: 4, projections: [192] },
};
const base: UpdateShape = {
  samples: 2,
  clones: 8,
  tokens: 196,
  kept: 39,
  extra: 1,
  width: 768,
  mlpRatio: 4,
  studentBlocks: 12,
  teacherBlocks: 12,
  decoder: { width: 768, groups: 16, kernel: [3, 3], layers: 6, projections: [768] },
};

describe('updateFlops', () => {
  it('gives the published figures', () => {
    expect(updateFlops(tiny).total / 1e9).toBeCloseTo(43.4, 1);
    expect(updateFlops(base).total / 1e9).toBeCloseTo(441.7, 0);
  });

  it('counts backward for student and decoder only', () => {
    const { student, decoder, teacher, total } = updateFlops(base);
    expect(total).toBe(3 * (student + decoder) + teacher);
    expect(updateFlops({ ...base, teacherBlocks: 0 }).total).toBe(3 * (student + decoder));
  });

  it('counts local features per sample and relative positions per row, with the teacher once more', () => {
    const more = updateFlops({ ...tiny, featuresPerSample: 1e9, positionsPerToken: 1e5 });
    const { samples, clones, tokens } = tiny;
    expect(more.features).toBe(samples * 1e9 + samples * clones * tokens * 1e5);
    const extra = 3 * more.features + samples * tokens * 1e5;
    expect(more.total - updateFlops(tiny).total).toBeCloseTo(extra, -3);
  });

  it('counts the teacher once per sample', () => {
    const more = updateFlops({ ...tiny, clones: 8 });
    expect(more.teacher).toBe(updateFlops(tiny).teacher);
    expect(more.student).toBe(2 * updateFlops(tiny).student);
  });
});
