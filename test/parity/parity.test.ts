import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { stepNoise } from './noise.js';
import { Comparison } from './report.js';
import { parity } from './run.js';

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/${name}.json`, import.meta.url));

describe('our model and the reference implementation agree on', () => {
  it.each([
    'audio_base_a',
    'audio_small_a',
    'image_base_a',
    'image_small_a',
    'image_small_b',
    'text_base_a',
    'text_small_a',
  ])('%s', async (name) => {
    const report = await parity(fixture(name));
    expect(report.failed).toEqual([]);
    expect(report.notCompared).toEqual([]);
    expect(report.pass).toBe(true);
    for (const quantity of [
      'features',
      'mid/targets',
      'losses',
      'grad',
      'after/param',
      'after/ema',
      'trace/grad_norm',
    ]) {
      expect(report.largest[quantity]?.error, quantity).toBeLessThan(1e-3);
    }
  });
});

describe('the tool', () => {
  const run = (...args: string[]) =>
    spawnSync(
      process.execPath,
      ['--import', 'tsx', fileURLToPath(new URL('./index.ts', import.meta.url)), ...args],
      {
        encoding: 'utf8',
      },
    );

  it('prints JSON and notices a wrong value, a missing one, and other weights', () => {
    const folder = mkdtempSync(join(tmpdir(), 'd2v-parity-'));
    try {
      copyFileSync(fixture('image_small_b').replace('.json', '.safetensors'), join(folder, 'x.safetensors'));
      const info = JSON.parse(readFileSync(fixture('image_small_b'), 'utf8'));
      info.scalars.losses_summed.cls *= 1.0001;
      delete info.after_10_steps;
      writeFileSync(join(folder, 'x.json'), JSON.stringify(info));
      const wrong = run(join(folder, 'x.json'));
      expect(wrong.status).toBe(1);
      const report = JSON.parse(wrong.stdout);
      expect(report.failed).toEqual(['losses/cls']);
      expect(report.quantities['losses/cls'].error).toBeGreaterThan(9e-5);
      expect(report.skipped).toContain('after_10_steps');

      info.config.loss_beta = 1;
      writeFileSync(join(folder, 'x.json'), JSON.stringify(info));
      const other = JSON.parse(run(join(folder, 'x.json'), '--brief').stdout);
      expect(other.failed.length).toBeGreaterThan(20);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('says in a line what it cannot compare', () => {
    const none = run();
    expect([none.status, none.stderr]).toEqual([2, expect.stringContaining('usage: pnpm parity')]);
    const missing = run('/nonexistent/x.json');
    expect([missing.status, missing.stderr]).toEqual([2, expect.stringContaining('is not a fixture')]);
  });
});

it('makes noise of mean 0 and the wanted deviation, the same every time', () => {
  const noise = stepNoise(7001, 0, 20000, 0.01);
  const mean = noise.reduce((a, b) => a + b, 0) / noise.length;
  const deviation = Math.sqrt(noise.reduce((a, b) => a + (b - mean) ** 2, 0) / noise.length);
  expect(Math.abs(mean)).toBeLessThan(3e-4);
  expect(Math.abs(deviation - 0.01)).toBeLessThan(2e-4);
  expect(noise[0]).toBeCloseTo(-0.011907939799, 10);
  expect(stepNoise(7001, 1, 1, 0.01)[0]).toBeCloseTo(-0.006968851201, 10);
});

it('compares with relative and absolute limits', () => {
  const c = new Comparison();
  c.array('a', [1, 2], [1, 2.0001], { rel: 1e-4 });
  c.array('b', [1, 2], [1, 2.0001], { abs: 1e-5 });
  c.array('c', [1e-9, 0], [2e-9, 0], { rel: 1e-4, abs: 1e-8, either: true });
  c.array('d', [1], [1, 2], { rel: 1 });
  c.array('e', [Number.NaN], [1], { rel: 1 });
  c.number('f', undefined, 3, { rel: 1 });
  c.number('g', 3, undefined, { rel: 1 });
  const report = c.report('x', ['a', 'z']);
  expect(report.failed).toEqual(['b', 'd', 'e', 'f']);
  expect(report.skipped).toEqual(['g']);
  expect(report.notCompared).toEqual(['z']);
  expect(report.pass).toBe(false);
});
