import { describe, expect, it } from 'vitest';
import { parseOptions } from './options.js';

describe('parseOptions', () => {
  it('has defaults for all but the modality', () => {
    expect(parseOptions(['image'])).toMatchObject({
      modality: 'image',
      updates: null,
      eager: false,
      compiled: false,
      batch: null,
      data: true,
      dtype: 'f32',
      device: 'cpu',
    });
  });

  it('reads every option', () => {
    const args =
      'image --preset base --peer --updates 20 --batch 2 --clones 3 --no-data --threads 1 --json --dtype bf16'.split(
        ' ',
      );
    expect(parseOptions(args)).toMatchObject({
      preset: 'base',
      eager: true,
      compiled: true,
      updates: 20,
      batch: 2,
      clones: 3,
      data: false,
      threads: 1,
      json: true,
      dtype: 'bf16',
    });
  });

  it('compares with one of the peers', () => {
    expect(parseOptions(['image', '--compiled'])).toMatchObject({ eager: false, compiled: true });
  });

  it('takes the first GPU for cuda, and bf16 there', () => {
    expect(parseOptions(['image', '--device', 'cuda'])).toMatchObject({ device: 'cuda:0', dtype: 'bf16' });
    expect(parseOptions(['image', '--device', 'cuda:1', '--dtype', 'f32'])).toMatchObject({
      device: 'cuda:1',
      dtype: 'f32',
    });
  });

  it.each([
    [[], /name one modality/],
    [['image', 'audio'], /name one modality/],
    [['image', '--updates', 'many'], /--updates must be a whole number/],
    [['image', '--updates', '0'], /--updates/],
    [['image', '--dtype', 'f64'], /f32 or bf16/],
    [['image', '--predict', 'abacus'], /a100, h100, h200/],
    [['image', '--faster'], /--faster/],
    [['image', '--batch', '1.5'], /--batch must be a whole number/],
    [['image', '--compiled', '--set', 'model.depth=1'], /not with --peer/],
    [['image', '--peer', '--set', 'model.depth=1'], /not with --peer/],
  ])('refuses %j', (args, message) => {
    expect(() => parseOptions(args)).toThrow(message);
  });
});
