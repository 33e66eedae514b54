import { describe, expect, it } from 'vitest';
import { fakeModality } from '../modality/fake.js';
import { objectLayer } from './layer.js';
import { resolveConfig } from './resolve.js';

const modality = {
  ...fakeModality,
  suggest: (settings: { data?: { dataset?: string | null; rate?: unknown } }) =>
    settings.data?.dataset === 'sines' ? { data: { rate: 99 } as object, optimization: { lr: 1 } } : {},
};
const rate = (config: object) => (config as { data: { rate: number } }).data.rate;

describe('what a modality suggests', () => {
  it('lies above the defaults and below preset and user', () => {
    const config = resolveConfig({ modality });
    expect(rate(config)).toBe(99);
    expect(config.optimization.lr).toBe(5e-4);
    expect(rate(resolveConfig({ modality, set: ['data.rate=7'] }))).toBe(7);
  });

  it('sees the settings of the user', () => {
    expect(
      rate(resolveConfig({ modality, layers: [objectLayer({ data: { dataset: 'other' } }, 'options')] })),
    ).toBe(16);
  });

  it('is checked like any other setting', () => {
    const wrong = { ...fakeModality, suggest: () => ({ data: { rat: 1 } as object }) };
    expect(() => resolveConfig({ modality: wrong })).toThrow(
      /rat.*what modality fake suggests|what modality fake suggests.*rat/,
    );
  });
});
