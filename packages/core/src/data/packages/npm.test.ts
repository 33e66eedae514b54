import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { create } from 'tar';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { type PinnedPackage, withPackage } from './npm.js';
import { readTarball } from './tarball.js';

/** A stand-in for npm: a script on PATH. On Windows that would take a .cmd file, which Node does not start directly. */
const posix = process.platform !== 'win32';

let folder: string;
let cacheDir: string;
let tarball: string;
let wanted: PinnedPackage;
let logged: string[];
const node = process.execPath;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'd2v-npm-'));
  await mkdir(join(folder, 'package'));
  await writeFile(join(folder, 'package', 'data.json'), '{"data": [1, 2]}');
  await writeFile(join(folder, 'package', 'other.txt'), 'no');
  tarball = join(folder, 'source.tgz');
  await create({ file: tarball, gzip: true, cwd: folder }, ['package']);
  const integrity = `sha512-${createHash('sha512')
    .update(await readFile(tarball))
    .digest('base64')}`;
  wanted = { name: '@some/thing', version: '1.2.3', integrity, size: '1 KB' };
});
afterAll(() => rm(folder, { recursive: true, force: true }));

beforeEach(async () => {
  cacheDir = await mkdtemp(join(folder, 'cache '));
  logged = [];
  vi.stubEnv('npm_execpath', '');
});
afterEach(() => {
  vi.unstubAllEnvs();
  process.execPath = node;
});

/** Puts a script named npm first on PATH. */
async function fakeNpm(script: string) {
  const bin = await mkdtemp(join(folder, 'bin-'));
  await writeFile(join(bin, 'npm'), `#!${node}\n${script}`);
  await chmod(join(bin, 'npm'), 0o755);
  vi.stubEnv('PATH', `${bin}${delimiter}${process.env.PATH}`);
}
const deliver = () => `
const { copyFileSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');
const folder = process.env.npm_config_pack_destination;
copyFileSync(${JSON.stringify(tarball)}, join(folder, 'some-thing-1.2.3.tgz'));
writeFileSync(${JSON.stringify(join(folder, 'called.json'))}, JSON.stringify({ args: process.argv.slice(2), env: process.env }));`;
const get = (offline = false) =>
  withPackage(wanted, { cacheDir, offline, log: (line) => logged.push(line) }, (path) =>
    readTarball(path, (name) => name.endsWith('.json')),
  );

describe.runIf(posix)('withPackage', () => {
  it('asks the npm on PATH, verifies, and cleans up', async () => {
    await fakeNpm(deliver());
    vi.stubEnv('npm_config_workspace', 'something');
    const files = await get();
    expect([...files.keys()]).toEqual(['data.json']);
    expect(files.get('data.json')?.toString()).toBe('{"data": [1, 2]}');
    expect(await readdir(cacheDir)).toEqual([]);
    expect(logged).toEqual(['fetching @some/thing@1.2.3 (1 KB) with npm']);
    const call = JSON.parse(await readFile(join(folder, 'called.json'), 'utf8'));
    expect(call.args).toEqual(['pack', '@some/thing@1.2.3']);
    expect(call.env).toMatchObject({ npm_config_ignore_scripts: 'true', npm_config_prefer_offline: 'true' });
    expect(call.env).not.toHaveProperty('npm_config_workspace');
  });

  it('refuses other content than pinned', async () => {
    await fakeNpm(deliver());
    const other = { ...wanted, integrity: `sha512-${'A'.repeat(86)}==` };
    const used = vi.fn();
    await expect(withPackage(other, { cacheDir, log: () => {} }, used)).rejects.toThrow(
      /some-thing-1.2.3.tgz is not the published package.*npm config get registry/,
    );
    expect(used).not.toHaveBeenCalled();
    expect(await readdir(cacheDir)).toEqual([]);
  });

  it('tells what npm said, in one line with the remedy', async () => {
    await fakeNpm(`
      console.error('npm warn unrelated');
      console.error('npm error code ENOTFOUND\\nnpm error syscall getaddrinfo\\nnpm error network request to the registry failed');
      console.error('npm error A complete log of this run can be found in: x');
      process.exit(1);`);
    const error: Error = await get().then(
      () => new Error('no error'),
      (thrown) => thrown,
    );
    expect(error.name).toBe('D2vError');
    expect(error.message).toMatch(/npm says ENOTFOUND: network request to the registry failed/);
    expect(error.message).toContain(`put some-thing-1.2.3.tgz into ${cacheDir}`);
    expect(error.message).not.toContain('\n');
  });

  it('offline, npm may use its own cache only', async () => {
    await fakeNpm(`
      if (process.env.npm_config_offline === 'true') { console.error('npm error code ENOTCACHED'); process.exit(1); }`);
    await expect(get(true)).rejects.toThrow(/ENOTCACHED; allow the network once/);
    await expect(get(false)).rejects.toThrow(/wrote no file/);
  });

  it('says that npm is missing', async () => {
    vi.stubEnv('PATH', await mkdtemp(join(folder, 'empty-')));
    process.execPath = join(folder, 'nowhere', 'bin', 'node');
    await expect(get()).rejects.toThrow(/npm was not found on PATH; install it/);
  });

  it('removes what fetches that were killed have left, a day later', async () => {
    await fakeNpm(deliver());
    await mkdir(join(cacheDir, 'fetch-old'));
    await mkdir(join(cacheDir, 'fetch-young'));
    const before = new Date(Date.now() - 2 * 24 * 3600 * 1000);
    await utimes(join(cacheDir, 'fetch-old'), before, before);
    await get();
    expect(await readdir(cacheDir)).toEqual(['fetch-young']);
  });
});

describe('a tarball put into the cache folder by hand', () => {
  it('is used without npm, and kept', async () => {
    vi.stubEnv('PATH', '');
    await writeFile(join(cacheDir, 'some-thing-1.2.3.tgz'), await readFile(tarball));
    expect((await get(true)).size).toBe(1);
    expect(await readdir(cacheDir)).toEqual(['some-thing-1.2.3.tgz']);
  });

  it('is verified', async () => {
    await writeFile(join(cacheDir, 'some-thing-1.2.3.tgz'), 'something else');
    await expect(get(true)).rejects.toThrow(/is not the published package.*remove/);
  });
});

describe('readTarball', () => {
  it('refuses damaged archives', async () => {
    const cut = join(cacheDir, 'cut.tgz');
    const bytes = await readFile(tarball);
    await writeFile(cut, bytes.subarray(0, bytes.length / 2));
    await expect(readTarball(cut, () => true)).rejects.toThrow();
  });
});
