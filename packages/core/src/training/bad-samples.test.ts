import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BAD_SAMPLES_FILE, BadSamples, type BadSamplesState } from './bad-samples.js';

let runDir: string;
beforeEach(() => {
  runDir = mkdtempSync(join(tmpdir(), 'd2v-bad-'));
});
afterEach(() => rmSync(runDir, { recursive: true, force: true }));

const open = (maxShare: number, length: number, state?: BadSamplesState, root: string | null = null) =>
  BadSamples.open({ runDir, maxShare, length, root, state });
const bad = (index: number, file = `${index}.png`) => ({ index, file, reason: 'truncated' });
const listed = () =>
  readFileSync(join(runDir, BAD_SAMPLES_FILE), 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line).file);

describe('BadSamples', () => {
  it('lists each damaged sample once', async () => {
    const register = await open(0.5, 100);
    expect(register.record(8, [bad(3), bad(5)])).toHaveLength(2);
    expect(register.record(8, [bad(3), bad(9)])).toHaveLength(1);
    expect(register.count).toBe(3);
    expect(listed()).toEqual(['3.png', '5.png', '9.png']);
  });

  it('forgets on resume what was found after the checkpoint', async () => {
    const register = await open(0.5, 100);
    register.record(8, [bad(3)]);
    const state = register.state();
    register.record(8, [bad(5)]);
    const resumed = await open(0.5, 100, state);
    expect(listed()).toEqual(['3.png']);
    resumed.record(8, [bad(5), bad(3)]);
    expect(listed()).toEqual(['3.png', '5.png']);
    expect(resumed.state()).toEqual({ tried: 19, met: 3, indices: [3, 5] });
  });

  it('stops as soon as the share is certain', async () => {
    const register = await open(0.1, 200);
    const some = (first: number, count: number) => Array.from({ length: count }, (_, i) => bad(first + i));
    for (let i = 0; i < 4; i++) register.record(45, some(5 * i, 5));
    expect(() => register.record(4, [bad(20)])).toThrow(
      /21 of 200 samples are damaged \(11 %\).*max_bad_share allows \(10 %\).*20\.png: truncated.*--set data\.max_bad_share=0\.13$/,
    );
  });

  it('passes over a few damaged ones of a small dataset, whatever their share, but not over half of it', async () => {
    const few = await open(0.01, 79);
    for (let i = 0; i < 10; i++) few.record(8, [bad(i)]);
    expect(() => few.record(8, [bad(10)])).toThrow(/11 of 79 samples/);
    const small = await open(0.01, 6);
    small.record(3, [bad(1), bad(2), bad(3)]);
    expect(() => small.record(2, [bad(4)])).toThrow(/4 of 6 samples/);
  });

  it('stops early in a large dataset, but not by bad luck', async () => {
    const lucky = await open(0.05, 1e6);
    for (let i = 0; i < 500; i++)
      lucky.record(
        95,
        [1, 2, 3, 4, 5].map((k) => bad(i * 10 + k)),
      );
    const register = await open(0.05, 1e6);
    const broken = () => {
      for (let i = 0; i < 50; i++)
        register.record(
          5,
          [1, 2, 3, 4, 5].map((k) => bad(i * 10 + k)),
        );
    };
    expect(broken).toThrow(/are damaged \(50 %\)/);
  });

  it('with share 0 accepts none', async () => {
    const register = await open(0, 1e6);
    expect(() => register.record(31, [bad(1)])).toThrow(/damaged/);
  });

  it('writes no absolute path', async () => {
    const register = await open(0.5, 100, undefined, '/data/photos');
    register.record(8, [bad(1, '/data/photos/cats/a.png'), bad(2, '/other/b.png'), bad(4, 'c/d.png')]);
    expect(listed()).toEqual(['cats/a.png', 'b.png', 'c/d.png']);
  });
});
