/** The plugin through the real command: found, trained, embedded, by a CLI that has never heard of it. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { readNpy } from '@d2v/core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { waveform } from './waveforms.js';

const bin = join(dirname(createRequire(import.meta.url).resolve('@d2v/cli/package.json')), 'dist', 'bin.js');
const plugin = dirname(import.meta.dirname);
const d2v = (...args: string[]) =>
  execFileSync(process.execPath, [bin, ...args], { encoding: 'utf8', cwd: plugin });

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'd2v-timeseries-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('adds its own commands to the program', () => {
  expect(d2v('--help')).toMatch(/Commands of installed modalities:\n\s+waveforms\s+generated series/);
  expect(d2v('waveforms', 'write', '--help')).toContain('d2v waveforms write series/ --count 600');
  const series = join(folder, 'series');
  expect(d2v('waveforms', 'write', series, '--count', '7')).toBe(`7 series: ${series}\n`);
  expect(readdirSync(series)).toContain('random-walk');
  expect(readdirSync(join(series, 'sine'))).toEqual(['0.csv', '6.csv']);
  expect(() => d2v('waveforms', 'write', series, '--count', '0')).toThrow('--count 0: it must be');
});

it('is listed, trains, and embeds series of different lengths', { timeout: 120_000 }, () => {
  expect(d2v('modalities')).toContain('d2v-modality-timeseries');
  const run = join(folder, 'run');
  const small = ['model.depth=1', 'model.average_top_k_layers=1', 'data.batch_size=8', 'data.limit=40'];
  const samples = ['eval.train_samples=40', 'eval.valid_samples=20'];
  const set = [...small, ...samples].flatMap((text) => ['--set', text]);
  const output = d2v('train', 'timeseries', '--run', run, '--max-updates', '3', '--workers', '1', ...set);
  expect(output).toMatch(/raw values .*\npretrained network /);
  const files = [0, 1].map((i) => {
    const file = join(folder, `${i}.csv`);
    writeFileSync(file, [...waveform('valid', i)].join('\n'));
    return file;
  });
  const out = join(folder, 'features.npy');
  d2v('embed', run, ...files, '-o', out, '-q');
  expect(readNpy(out).shape).toEqual([2, 64]);
});
