import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DamagedPackError, readPack, writePack } from './pack.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'd2v-pack-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const pack = {
  header: {
    name: 'test',
    version: 1,
    license: 'CC0-1.0',
    source: 'none@1.0.0',
    integrity: 'sha512-',
    count: 3,
    width: 2,
    height: 2,
    channels: 3 as const,
    classes: ['a', 'b'],
    names: ['x', 'y', 'ÿ'],
  },
  labels: Uint8Array.of(0, 1, 1),
  heldOut: Uint8Array.of(0, 1, 0),
  pixels: Uint8Array.from({ length: 36 }, (_, i) => i),
};

describe('pack files', () => {
  it('come back as they were written, leaving nothing beside', async () => {
    const file = join(folder, 'deep', 'test.d2vpack');
    await writePack(file, pack);
    const back = await readPack(file);
    expect(back?.header).toMatchObject(pack.header);
    expect(Uint8Array.from(back!.labels)).toEqual(pack.labels);
    expect(Uint8Array.from(back!.heldOut)).toEqual(pack.heldOut);
    expect(Uint8Array.from(back!.pixels)).toEqual(pack.pixels);
    expect(await readdir(join(folder, 'deep'))).toEqual(['test.d2vpack']);
  });

  it('can be written by several at once', async () => {
    const file = join(folder, 'race.d2vpack');
    await Promise.all(Array.from({ length: 12 }, () => writePack(file, pack)));
    expect((await readPack(file))?.header.count).toBe(3);
  });

  it('are null when missing', async () => {
    expect(await readPack(join(folder, 'none'))).toBeNull();
  });

  it('are refused after any change, cut or addition', async () => {
    const file = join(folder, 'whole.d2vpack');
    await writePack(file, pack);
    const bytes = await readFile(file);
    const damaged = join(folder, 'damaged.d2vpack');
    const refused = async (changed: Uint8Array) => {
      await writeFile(damaged, changed);
      await expect(readPack(damaged)).rejects.toThrow(DamagedPackError);
    };
    for (let length = 0; length < bytes.length; length += 7) await refused(bytes.subarray(0, length));
    await refused(Buffer.concat([bytes, Buffer.of(0)]));
    await refused(Buffer.from(bytes).fill(0xff, 8, 12));
    // Any bit of what the checksum covers.
    const payload = 3 * 2 + 36;
    const position = fc.integer({ min: bytes.length - payload, max: bytes.length - 1 });
    await fc.assert(
      fc.asyncProperty(position, fc.integer({ min: 1, max: 255 }), async (at, mask) => {
        const changed = Buffer.from(bytes);
        changed[at]! ^= mask;
        await refused(changed);
      }),
      { numRuns: 40 },
    );
  });

  it('that claim more than they hold take no memory', async () => {
    const file = join(folder, 'liar.d2vpack');
    const header = Buffer.from(JSON.stringify({ ...pack.header, count: 9_999_999, names: null, sha256: '' }));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(header.length);
    await writeFile(file, Buffer.concat([Buffer.from('D2VPACK1'), length, header]));
    await expect(readPack(file)).rejects.toThrow(/wrong length/);
  });
});
