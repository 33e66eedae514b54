import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BREAK_MODES, type BreakMode } from '../data-config.js';
import { BlockCutter } from './blocks.js';
import { SEPARATOR, STARTS_DOCUMENT } from './format.js';

interface Item {
  length: number;
  flags: number;
}
type Blocks = [start: number, length: number, item: number][];

function cut(mode: BreakMode, size: number, items: Item[]): Blocks {
  const blocks: Blocks = [];
  const cutter = new BlockCutter(mode, size, (...block) => blocks.push(block));
  for (const { length, flags } of items) cutter.add(length, flags);
  cutter.end();
  return blocks;
}

/** The original's algorithms over lists of sizes, for lines that fit; a separator is a line of one token. */
function original(mode: BreakMode, size: number, sizes: number[]): [number, number][] {
  const total = sizes.reduce((a, b) => a + b, 0);
  const blocks: [number, number][] = [];
  if (mode === 'none') {
    for (let at = 0; at < total; at += size) blocks.push([at, Math.min(size, total - at)]);
    return blocks;
  }
  let place = 0;
  let current = 0;
  const close = (least: number) => {
    if (current > least) blocks.push([place, current]);
    place += current;
    current = 0;
  };
  for (const length of sizes) {
    const separator = length === 1;
    if (mode === 'eos') {
      if (!separator) blocks.push([place, length]);
      place += length;
      continue;
    }
    if (current > 0 && current + length > size) close(mode === 'complete_doc' ? 1 : 0);
    if (mode === 'complete_doc' && separator) {
      close(1);
      place++;
    } else current += length;
  }
  close(mode === 'complete_doc' ? 1 : 0);
  return blocks;
}

describe('blocks', () => {
  it.each(BREAK_MODES)('are those of the original: %s', (mode) => {
    const documents = fc.array(fc.array(fc.integer({ min: 2, max: 8 }), { minLength: 1, maxLength: 6 }), {
      maxLength: 6,
    });
    fc.assert(
      fc.property(documents, fc.integer({ min: 8, max: 20 }), (list, size) => {
        const items = list.flatMap((lengths, i) => [
          ...(i > 0 ? [{ length: 1, flags: SEPARATOR }] : []),
          ...lengths.map((length, j) => ({ length, flags: j === 0 ? STARTS_DOCUMENT : 0 })),
        ]);
        const blocks = cut(mode, size, items);
        const sizes = items.map(({ length }) => length);
        expect(blocks.map(([start, length]) => [start, length])).toEqual(original(mode, size, sizes));
        // The item of a block is the one that its first token belongs to.
        for (const [start, , item] of blocks) {
          const before = sizes.slice(0, item).reduce((a, b) => a + b, 0);
          expect(start).toBeGreaterThanOrEqual(before);
          expect(start).toBeLessThan(before + sizes[item]!);
        }
      }),
    );
  });

  it.each(BREAK_MODES)('never exceed their size, whatever the lines: %s', (mode) => {
    const item = fc.record({
      length: fc.integer({ min: 1, max: 60 }),
      flags: fc.constantFrom(0, STARTS_DOCUMENT),
    });
    fc.assert(
      fc.property(fc.array(item, { maxLength: 20 }), fc.integer({ min: 2, max: 16 }), (items, size) => {
        let end = 0;
        for (const [start, length] of cut(mode, size, items)) {
          expect(length).toBeGreaterThan(0);
          expect(length).toBeLessThanOrEqual(size);
          expect(start).toBeGreaterThanOrEqual(end);
          end = start + length;
        }
        const total = items.reduce((sum, { length }) => sum + length, 0);
        const taken = cut(mode, size, items).reduce((sum, [, length]) => sum + length, 0);
        if (mode === 'complete_doc') expect(taken).toBeLessThanOrEqual(total);
        else expect(taken).toBe(total);
      }),
    );
  });

  it('of documents that are not separated by lines do not cross them either', () => {
    const items = [3, 4, 2].map((length) => ({ length, flags: STARTS_DOCUMENT }));
    expect(cut('complete_doc', 16, items).map(([, length]) => length)).toEqual([3, 4, 2]);
    expect(cut('complete', 16, items).map(([, length]) => length)).toEqual([9]);
  });
});
