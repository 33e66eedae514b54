import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { makeMat } from '../__fixtures__/mat.js';
import { readMat } from './mat-file.js';

const rows = [
  { id: 1, name: 'n02119789', words: 'kit fox, Vulpes macrotis', height: 0.5, children: [] },
  { id: 70_000, name: 'ab', words: 'ß and 狐', height: -2, children: [3, 4, 65_535] },
];

describe('MAT files', () => {
  it('give numbers and texts of a struct array', () => {
    expect(readMat(makeMat('synsets', rows), 'meta.mat').get('synsets')).toEqual([
      { id: [1], name: 'n02119789', words: 'kit fox, Vulpes macrotis', height: [0.5], children: [] },
      { id: [70_000], name: 'ab', words: 'ß and 狐', height: [-2], children: [3, 4, 65_535] },
    ]);
  });

  it('are refused with their name when they are damaged, and never crash', () => {
    const bytes = makeMat('synsets', rows);
    expect(() => readMat(Buffer.from('MATLAB'), 'a/meta.mat')).toThrow(
      'a/meta.mat: it is no MAT file of version 5 (cut off in its header)',
    );
    expect(() => readMat(Buffer.concat([Buffer.alloc(126), Buffer.from('MI')]), 'm')).toThrow(
      'little-endian',
    );
    fc.assert(
      fc.property(
        fc.nat(bytes.length - 1),
        fc.integer({ min: 1, max: 255 }),
        fc.nat(bytes.length),
        (at, mask, end) => {
          const changed = Buffer.from(bytes);
          changed[at]! ^= mask;
          try {
            readMat(changed.subarray(0, end), 'm');
          } catch (error) {
            expect((error as Error).message).toMatch(/^m: it is no MAT file of version 5 \(/);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it('read what MATLAB itself writes', () => {
    // x = struct('a', {1, [2 3]}, 'b', {'hi', ''}), saved without compression: tags in both forms, empty text.
    const parts: Buffer[] = [];
    const tag = (type: number, bytes: number) => {
      const buffer = Buffer.alloc(8);
      buffer.writeUInt32LE(type);
      buffer.writeUInt32LE(bytes, 4);
      return buffer;
    };
    const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');
    const matrixOf = (content: Buffer) => Buffer.concat([tag(14, content.length), content]);
    const flags = (kind: string) => hex(`06000000 08000000 ${kind}000000 00000000`);
    const size = (rows: string, columns: string) => hex(`05000000 08000000 ${rows}000000 ${columns}000000`);
    const noName = hex('01000000 00000000');
    const one = Buffer.concat([flags('06'), size('01', '01'), noName, hex('0200 0100 01000000')]);
    const hi = Buffer.concat([flags('04'), size('01', '02'), noName, hex('1000 0200 68690000')]);
    const two = Buffer.concat([flags('06'), size('01', '02'), noName, hex('0200 0200 02030000')]);
    const none = Buffer.concat([flags('04'), size('00', '00'), noName, hex('10000000 00000000')]);
    const names = hex('0500 0400 02000000 0100 0400 61006200');
    const head = Buffer.concat([flags('02'), size('01', '02'), hex('0100 0100 78000000'), names]);
    parts.push(matrixOf(Buffer.concat([head, ...[one, hi, two, none].map(matrixOf)])));
    const header = Buffer.alloc(128, ' ');
    header.write('IM', 126);
    expect(readMat(Buffer.concat([header, ...parts]), 'm').get('x')).toEqual([
      { a: [1], b: 'hi' },
      { a: [2, 3], b: '' },
    ]);
  });
});
