import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { crc32c, maskedCrc32c } from './crc32c.js';
import { EventFileWriter } from './writer.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'd2v-tb-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A decoder of its own: field number -> values, as far as event files use the format. */
function decode(bytes: Buffer): Map<number, (number | Buffer)[]> {
  const fields = new Map<number, (number | Buffer)[]>();
  let at = 0;
  const varint = () => {
    let value = 0;
    let unit = 1;
    for (;;) {
      const byte = bytes[at++]!;
      value += (byte & 127) * unit;
      if (byte < 128) return value;
      unit *= 128;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    let value: number | Buffer;
    switch (key % 8) {
      case 0:
        value = varint();
        break;
      case 1:
        value = bytes.readDoubleLE(at);
        at += 8;
        break;
      case 2: {
        const length = varint();
        value = bytes.subarray(at, at + length);
        at += length;
        break;
      }
      default:
        value = bytes.readFloatLE(at);
        at += 4;
    }
    const field = Math.floor(key / 8);
    fields.set(field, [...(fields.get(field) ?? []), value]);
  }
  return fields;
}

function records(file: string): Buffer[] {
  const bytes = readFileSync(file);
  const found: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at));
    expect(bytes.readUInt32LE(at + 8)).toBe(maskedCrc32c(bytes.subarray(at, at + 8)));
    const content = bytes.subarray(at + 12, at + 12 + length);
    expect(bytes.readUInt32LE(at + 12 + length)).toBe(maskedCrc32c(content));
    found.push(content);
    at += 16 + length;
  }
  return found;
}

describe('crc32c', () => {
  it('gives the values of RFC 3720', () => {
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  });
});

describe('EventFileWriter', () => {
  it('writes what a reader of the format finds again', () => {
    const writer = new EventFileWriter(folder, 1);
    writer.scalars(3, { loss: 1.5, 'eval/knn_top1': 0.25, broken: Number.NaN });
    writer.scalars(5_000_000_000, { lr: 1e-3 });
    writer.close();
    const [version, first, second, ...more] = records(join(folder, readdirSync(folder)[0]!)).map(decode);
    expect(more).toEqual([]);
    expect(String(version!.get(3)![0])).toBe('brain.Event:2');
    expect(first!.get(1)![0]).toBeGreaterThan(1.7e9);
    expect(first!.get(2)).toEqual([3]);
    const values = decode(first!.get(5)![0] as Buffer)
      .get(1)!
      .map((value) => decode(value as Buffer));
    expect(values.map((value) => [String(value.get(1)![0]), value.get(2)![0]])).toEqual([
      ['loss', 1.5],
      ['eval/knn_top1', 0.25],
    ]);
    expect(second!.get(2)).toEqual([5_000_000_000]);
  });

  it('starts a second file on resume, sorted behind the first, that voids later steps', () => {
    new EventFileWriter(folder, 1).close();
    new EventFileWriter(folder, 120).close();
    const files = readdirSync(folder).sort();
    expect(files).toHaveLength(2);
    const restart = decode(records(join(folder, files[1]!))[1]!);
    expect(restart.get(2)).toEqual([120]);
    expect(decode(restart.get(7)![0] as Buffer).get(1)).toEqual([1]);
  });

  const python = spawnSync('python3', ['-c', 'import tensorboard']);
  it.skipIf(python.status !== 0)('is read by TensorBoard itself (needs python3 with tensorboard)', () => {
    const writer = new EventFileWriter(folder, 1);
    for (const step of [1, 2, 3]) writer.scalars(step, { loss: step / 2 });
    writer.close();
    const script = `
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
import sys
a = EventAccumulator(sys.argv[1]); a.Reload()
print([(e.step, e.value) for e in a.Scalars('loss')])`;
    const { stdout } = spawnSync('python3', ['-c', script, folder], { encoding: 'utf8' });
    expect(stdout.trim()).toBe('[(1, 0.5), (2, 1.0), (3, 1.5)]');
  });
});
