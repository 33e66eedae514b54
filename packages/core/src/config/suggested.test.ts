import { describe, expect, it } from 'vitest';
import { fakeModality } from '../modality/fake.js';
import { objectLayer, yamlLayer } from './layer.js';
import { configToYaml } from './print.js';
import { derivedKeys, resolveConfig } from './resolve.js';
import { runConfigSchema } from './schema.js';

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

  it('is printed as comments, so that a printed config fits other data', () => {
    const schema = runConfigSchema(modality);
    const print = (options: Parameters<typeof derivedKeys>[0], comments = true) =>
      configToYaml(schema, resolveConfig(options), { comments, derived: derivedKeys(options) });
    for (const comments of [true, false]) {
      const file = yamlLayer(print({ modality }, comments), 'my.yaml');
      expect(resolveConfig({ modality, layers: [file] })).toEqual(resolveConfig({ modality }));
      const other = objectLayer({ data: { dataset: 'other' } }, '--data');
      expect(resolveConfig({ modality, layers: [file, other] })).toEqual(
        resolveConfig({ modality, layers: [other] }),
      );
    }
    expect(print({ modality })).toMatch(/^ {2}# rate: 99/m);
    expect(print({ modality, set: ['data.rate=7'] })).toMatch(/^ {2}rate: 7/m);
    expect(print({ modality }, false)).not.toMatch(/#|rate: 99/);
  });
});
