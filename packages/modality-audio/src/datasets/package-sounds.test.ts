import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { makeTar } from '@d2v/core/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type PackageSounds, packageSounds } from './package-sounds.js';
import { encodeWav } from './wav-writer.js';

const RATE = 16_000;
const HEADER = 44;
let cacheDir: string;
const logged: string[] = [];
const options = () => ({ cacheDir, offline: true, log: (line: string) => logged.push(line) });

beforeAll(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), 'd2v-package-sounds-'));
});
afterAll(() => rm(cacheDir, { recursive: true, force: true }));

/** A package that lies in the cache folder, where it is looked for before npm is asked. */
async function placed(name: string, seconds: number): Promise<PackageSounds> {
  const sound = encodeWav(new Float32Array(seconds * RATE).fill(0.25), RATE);
  const tarball = gzipSync(
    makeTar([
      { path: 'package/readme.md', content: 'no sound' },
      { path: 'package/A4.wav', content: sound },
      { path: 'package/C5.wav', content: sound },
    ]),
  );
  await writeFile(join(cacheDir, `${name}-1.0.0.tgz`), tarball);
  const sha512 = createHash('sha512').update(tarball).digest('base64');
  return {
    package: { name, version: '1.0.0', size: '1 KB', integrity: `sha512-${sha512}` },
    place: (path) => (path.endsWith('.wav') ? `${name}/${path.slice(0, 2)}` : undefined),
  };
}

describe('packageSounds', () => {
  it('keeps the beginning of each sound in the folder of its class, made once', async () => {
    const sources = [await placed('flute', 2), await placed('harp', 1)];
    const sounds = { name: 'two-1', license: 'CC0', sources, maxSeconds: 1.5 };
    const folder = await packageSounds(sounds, options());
    expect((await readdir(folder)).sort()).toEqual(['flute', 'harp']);
    expect((await readdir(join(folder, 'harp'))).sort()).toEqual(['A4.wav', 'C5.wav']);
    const bytes = async (path: string) => (await stat(join(folder, path))).size - HEADER;
    expect(await bytes('flute/A4.wav')).toBe(1.5 * RATE * 4);
    expect(await bytes('harp/A4.wav')).toBe(RATE * 4);
    expect(logged.at(-1)).toMatch(/^prepared .*two-1 \(CC0\)$/);
    const lines = logged.length;
    expect(await packageSounds({ ...sounds, sources: [] }, options())).toBe(folder);
    expect(logged).toHaveLength(lines);
  });

  it('leaves nothing of a failure, nor of processes that were killed a day ago', async () => {
    const good = await placed('oboe', 1);
    const old = join(cacheDir, 'audio', 'broken-1.tmp-killed');
    await mkdir(old, { recursive: true });
    await utimes(old, 0, 0);
    const broken = { ...good, place: () => undefined };
    const made = packageSounds({ name: 'broken-1', license: '', sources: [good, broken] }, options());
    await expect(made).rejects.toThrow('the package oboe has no sounds');
    expect((await readdir(join(cacheDir, 'audio'))).filter((name) => name.startsWith('broken'))).toEqual([]);
  });
});
