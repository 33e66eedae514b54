import { describe, expect, it } from 'vitest';
import { portableConfig } from '../config/files.js';
import type { RunConfig } from '../config/schema.js';
import { fakeModality } from '../modality/fake.js';
import { resumeWarnings } from './resume-check.js';

const machine = { device: 'cpu', isa: 'avx2', gemm: 'builtin', threads: 2 };
/** As it is saved. */
const config = (over: { lr?: number; num_workers?: number; path?: string; max_seconds?: number } = {}) =>
  portableConfig(
    {
      model: { depth: 2, modalities: { x: { mask_prob: 0.5 } } },
      data: {
        batch_size: 4,
        path: over.path ?? null,
        valid_path: null,
        cache_dir: null,
        num_workers: over.num_workers ?? 0,
      },
      optimization: { lr: over.lr ?? 1 },
      optimizer: { adam_betas: [0.9, 0.95] },
      lr_scheduler: { name: 'constant' },
      common: { seed: 1 },
      stop: { max_seconds: over.max_seconds ?? null },
      eval: { data: null, data_options: {} },
    } as unknown as RunConfig,
    fakeModality,
  );

describe('resumeWarnings', () => {
  it('is silent when the run goes on exactly', () => {
    const before = { config: config({ path: 'photos' }), machine };
    const now = { config: config({ path: '/moved/to/photos', num_workers: 3, max_seconds: 60 }), machine };
    expect(resumeWarnings(before, now)).toEqual([]);
  });

  it('names changed settings and hardware', () => {
    const warnings = resumeWarnings(
      { config: config(), machine },
      { config: config({ lr: 2 }), machine: { ...machine, threads: 4 } },
    );
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toBe('resuming with changed settings: optimization.lr 1 -> 2');
    expect(warnings[1]).toMatch(/threads 2 -> 4.*last digits/);
  });
});
