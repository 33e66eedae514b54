import type { DatasetEvent } from '@d2v/core';
import { describe, expect, it } from 'vitest';
import { rate } from './data-commands.js';
import { barLine, DataProgress, plainLine } from './data-progress.js';
import { bytes } from './format.js';

type Progress = Extract<DatasetEvent, { type: 'progress' }>;
const event = (more: Partial<Progress> = {}): Progress => ({
  type: 'progress',
  phase: 'download',
  item: 'train.tar',
  done: 50 << 20,
  total: 200 << 20,
  unit: 'bytes',
  ...more,
});
// biome-ignore lint/suspicious/noControlCharactersInRegex: colours
const bare = (text: string) => text.replace(/\u001b\[\d+m/g, '');

/** What is written over time; `isTTY` with 80 columns. */
function recorded(isTTY: boolean) {
  let written = '';
  let now = 0;
  const write = (text: string) => {
    written += text;
  };
  const output = { isTTY, columns: 80, write };
  const view = new DataProgress(output, false, () => now);
  return {
    view,
    at(ms: number, shown: DatasetEvent) {
      now = ms;
      view.on(shown);
    },
    take() {
      const text = written;
      written = '';
      return text;
    },
  };
}

describe('DataProgress', () => {
  it('writes a plain line every ten seconds where there is no terminal', () => {
    const { at, take } = recorded(false);
    at(0, event({ done: 0 }));
    at(5000, event({ done: 25 << 20 }));
    expect(take()).toBe('');
    at(10_000, event());
    expect(take()).toBe('downloading train.tar: 25 %, 50.0 MB/200 MB, 5.0 MB/s, 0:30 left\n');
    at(11_000, { type: 'warning', message: 'cut' });
    expect(bare(take())).toBe('warning: cut\n');
  });

  it('has one clock for many short items', () => {
    const { at, take } = recorded(false);
    for (let s = 0; s <= 30; s++) {
      const item = `class ${s}`;
      at(s * 1000, event({ phase: 'prepare', item, done: 1, total: 2, unit: 'images' }));
      at(s * 1000 + 900, event({ phase: 'prepare', item, done: 2, total: 2, unit: 'images' }));
    }
    const lines = take().trim().split('\n');
    expect(lines.map((line) => line.slice(0, 24))).toEqual(
      [10, 20, 30].map((s) => `preparing class ${s}: 50 %`),
    );
  });

  it('redraws one line on a terminal, with messages above it', () => {
    const { at, take, view } = recorded(true);
    at(0, event({ done: 0 }));
    at(1000, event());
    expect(bare(take())).toMatch(/^\r━{5}─{15} {2}25 % {2}downloading train\.tar {2}50\.0 MB\/200 MB/);
    at(1050, event({ done: 51 << 20 }));
    expect(take()).toBe('');
    at(1060, { type: 'info', message: 'hello' });
    expect(take().startsWith('\r\u001b[Khello\n\r')).toBe(true);
    view.clear();
    expect(take()).toBe('\r\u001b[K');
  });

  it('takes the rate over the last seconds', () => {
    const { at, take } = recorded(false);
    at(0, event({ done: 0 }));
    for (let s = 1; s <= 60; s++) at(s * 1000, event({ done: s < 50 ? 0 : (s - 49) * 1_048_576 }));
    expect(take().trim().split('\n').at(-1)).toContain(', 1.0 MB/s');
  });

  it('fits narrow terminals, and items without an end', () => {
    for (const columns of [20, 40, 80, 200]) {
      expect(bare(barLine(event(), 1e6, columns)).length).toBeLessThan(Math.max(columns, 40));
    }
    const open = event({ phase: 'prepare', item: 'shards', done: 12_345, total: null, unit: 'images' });
    expect(plainLine(open, 250)).toBe('preparing shards: 12.3 k images, 250/s');
  });
});

it('writes sizes, and reads rates', () => {
  expect([0, 1023, 86_123_456, 150e9].map(bytes)).toEqual(['0 B', '1023 B', '82.1 MB', '140 GB']);
  expect(['500', '800k', '5M', '1.5G', '2MB/s'].map(rate)).toEqual([
    500, 819_200, 5_242_880, 1_610_612_736, 2_097_152,
  ]);
  for (const text of ['', '0', 'fast', '-5M']) expect(() => rate(text)).toThrow('bytes per second');
});
