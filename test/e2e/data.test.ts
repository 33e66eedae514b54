/** `d2v data` through the real command: against a server with faults, with `kill -9`, and on a disk that fills up. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { FaultServer } from '@d2v/core/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runCli, startCli } from './support/cli.js';
import { preparedDigests } from './support/copies.js';

const plugin = fileURLToPath(new URL('./support/letters-plugin.mjs', import.meta.url));
let archives: Record<string, Buffer>;
let root: string;
let cache: string;
let server: FaultServer;
const mounts: string[] = [];

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'd2v-data-'));
  archives = (await import(plugin)).archives;
  server = await FaultServer.start();
  for (const [name, content] of Object.entries(archives)) server.serve(`/${name}`, content);
});
afterAll(async () => {
  await server.close();
  for (const mount of mounts) spawnSync('umount', ['-l', mount]);
  rmSync(root, { recursive: true, force: true });
});
beforeEach(() => {
  cache = mkdtempSync(join(root, 'cache-'));
  server.requests.length = 0;
  for (const name of Object.keys(archives)) server.heal(`/${name}`);
});

const environment = (folder = cache) => ({ ...process.env, D2V_DATA: folder });
const data = (...args: string[]) => ['data', ...args, '--plugin', plugin];
const source = () => ['--mirror', server.url(''), '--yes'];
const prepare = (...more: string[]) => data('prepare', 'letters', ...source(), ...more);
const run = (args: readonly string[], folder = cache) => runCli(args, { env: environment(folder) });

const prepared = (folder: string, variant = 'default') => preparedDigests(folder, 'letters', variant);

describe('d2v data', () => {
  it('lists, prepares, verifies, mends, counts and removes', async () => {
    const list = await run(data('list', '--modality', 'letters'));
    expect(list).toMatchObject({ code: 0, stderr: '' });
    expect(list.stdout).toMatch(/letters +letters +480 texts/);
    const everything = (await run(data('list'))).stdout.split('\n');
    for (const name of ['letters', 'librispeech', 'imagenet', 'openwebtext'])
      expect(everything.some((line) => line.startsWith(name))).toBe(true);
    expect(Math.max(...everything.map(({ length }) => length))).toBeLessThanOrEqual(100);
    const shown = (await run(data('list', 'letters'))).stdout;
    for (const text of [
      'For tests only.',
      'CC0',
      '--splits a,b',
      '--pause-ms',
      'Not here yet: d2v data prepare letters',
    ]) {
      expect(shown).toContain(text);
    }
    const refused = await run(data('prepare', 'letters', '--mirror', server.url('')));
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toMatch(/letters has terms of use \(CC0\): read them .* accept them with --yes/);
    const first = await run(prepare('--splits', 'train'));
    expect(first.stdout).toBe(
      `letters (train) is prepared in ${join(cache, 'datasets/letters/prepared/default')}\n`,
    );
    expect(first.code).toBe(0);
    expect((await run(prepare())).code).toBe(0);
    expect(Object.keys(prepared(cache))).toHaveLength(16);
    expect(server.requests.map(({ path }) => path)).toEqual(['/train.tar', '/valid.tar.gz']);

    expect((await run(data('verify', 'letters'))).stdout).toContain('all as they should be');
    const victim = join(cache, 'datasets/letters/prepared/default/train-beta.tar');
    const whole = prepared(cache);
    writeFileSync(victim, 'oh');
    const damaged = await run(data('verify', 'letters'));
    expect(damaged.code).toBe(1);
    expect(damaged.stdout).toContain(`damaged: ${victim}: it has 2 bytes`);
    expect((await run(data('list', 'letters'))).stdout).toContain(
      'Here: prepared (valid); damaged (train) in',
    );
    expect((await run(prepare())).code).toBe(0);
    expect(prepared(cache)).toEqual(whole);

    expect((await run(data('stats', 'letters'))).stdout).toMatch(
      /prepared default \(train, valid\): 16 files[\s\S]*samples: 480/,
    );
    expect(
      JSON.parse((await run(data('stats', 'letters', '--json'))).stdout).prepared[0].counts.samples,
    ).toBe(480);
    expect((await run(data('rm', 'letters'))).stderr).toMatch(/Say so with --yes/);
    const raw = JSON.parse((await run(data('rm', 'letters', '--raw', '--yes', '--json'))).stdout);
    const bytes = Object.values(archives).reduce((sum, { length }) => sum + length, 0);
    expect(raw).toEqual({ name: 'letters', part: 'raw', removed: true, bytes });
    expect((await run(data('rm', 'letters', '--yes'))).stdout).toMatch(/^removed letters/);
    const gone = JSON.parse((await run(data('rm', 'letters', '--yes', '--json'))).stdout);
    expect(gone).toEqual({ name: 'letters', part: 'all', removed: false, bytes: 0 });
    expect(readdirSync(join(cache, 'datasets'))).toEqual([]);
  });

  it("reads the dataset's own options, and names wrong ones", async () => {
    expect((await run(prepare('--splits', 'valid', '--upper', '--pause-ms=0'))).code).toBe(0);
    expect(Object.keys(prepared(cache, 'upper-true'))).toHaveLength(8);
    for (const [args, message] of [
      [['--uper'], /--uper: the dataset letters has no such option \(did you mean "--upper"\?\)/],
      [['--pause-ms'], /--pause-ms needs a value behind it: a number/],
      [['--pause-ms', 'x'], /--pause-ms must be a number, not "x"/],
      [['--splits', 'tran'], /letters has no split "tran" \(did you mean "train"\?\)/],
      [['other'], /"other": what is that\?/],
    ] as const) {
      const failed = await run(prepare(...args));
      expect(failed.stderr).toMatch(message);
      expect(failed.stderr.trim().split('\n')).toHaveLength(1);
      expect(failed.code).toBe(1);
    }
    expect((await run(data('prepare', 'leters', '--yes'))).stderr).toMatch(
      /there is no dataset "leters" \(did you mean "letters"\?\)/,
    );
  });

  it('prepares from a folder, without network', async () => {
    const own = mkdtempSync(join(root, 'own-'));
    for (const [name, content] of Object.entries(archives)) writeFileSync(join(own, name), content);
    const done = await run(data('prepare', 'letters', '--from', own, '--offline'));
    expect(done.code).toBe(0);
    expect(Object.keys(prepared(cache))).toHaveLength(16);
  });

  it('stops in order on SIGINT, and goes on', async () => {
    const { child, finished } = startCli(prepare('--pause-ms', '5'), { env: environment() });
    const shards = join(cache, 'datasets/letters/prepared/pause_ms-5');
    await until(() => readdirSync(shards).some((name) => name.endsWith('.idx')));
    child.kill('SIGINT');
    const stopped = await finished;
    expect(stopped.code).toBe(1);
    expect(stopped.stderr).toMatch(/stopped; what is done is kept: the same command goes on/);
    expect((await run(prepare('--pause-ms', '5'))).code).toBe(0);
    expect(Object.keys(prepared(cache, 'pause_ms-5'))).toHaveLength(16);
  });

  it('two at once: one works, the other waits and finds it done', async () => {
    const both = await Promise.all([run(prepare('--pause-ms', '2')), run(prepare('--pause-ms', '2'))]);
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    expect(both.map(({ stderr }) => stderr).join()).toMatch(
      /process \d+ is working on letters since .*: waiting for it/,
    );
    expect(server.requests).toHaveLength(2);
  });
});

describe('kill -9', () => {
  it('at 20 random moments of download and preparation leads to the same files', async () => {
    const reference = mkdtempSync(join(root, 'reference-'));
    expect((await run(prepare('--pause-ms', '12'), reference)).code).toBe(0);
    const folder = join(cache, 'datasets/letters');
    const names = () => readdirSync(folder, { recursive: true, encoding: 'utf8' });
    const killedWhile = async (going: (name: string) => boolean, args: string[]) => {
      const { child, finished } = startCli(args, { env: environment() });
      await until(() => names().some(going));
      await sleep(Math.random() * 900);
      child.kill('SIGKILL');
      return (await finished).signal === 'SIGKILL' && names().some(going);
    };
    // Slow enough that the kills fall into the phase that is meant.
    const kills = { download: 0, preparation: 0 };
    for (let i = 0; i < 10; i++) {
      const slow = prepare('--pause-ms', '12', '--limit-rate', '60k', '--connections', '2');
      if (await killedWhile((name) => name.endsWith('.part'), slow)) kills.download++;
    }
    for (let i = 0; i < 10; i++) {
      if (await killedWhile((name) => name.includes('.staging/'), prepare('--pause-ms', '12')))
        kills.preparation++;
    }
    expect(kills).toEqual({ download: 10, preparation: 10 });
    expect(await run(prepare('--pause-ms', '12'))).toMatchObject({ code: 0 });
    expect(prepared(cache, 'pause_ms-12')).toEqual(prepared(reference, 'pause_ms-12'));
    expect((await run(data('verify', 'letters'))).stdout).toContain('all as they should be');
    expect(names().filter((name) => /\.part|\.tmp-|staging|\.lock/.test(name))).toEqual([]);
  }, 300_000);
});

describe('a disk that fills up', () => {
  const smallDisk = (name: string, size: string) => {
    const path = join(root, name);
    mkdirSync(path);
    const mounted = spawnSync('mount', ['-o', `size=${size}`, '-t', 'tmpfs', 'tmpfs', path]).status === 0;
    if (mounted) mounts.push(path);
    return mounted ? path : undefined;
  };
  const grow = (path: string, size: string) => spawnSync('mount', ['-o', `remount,size=${size}`, path]);

  it('is noticed before the download, where sizes are known', async ({ skip }) => {
    const disk = smallDisk('small', '100k');
    if (!disk) return skip('mounting a tmpfs needs root');
    const failed = await run(prepare(), disk);
    expect(failed.code).toBe(1);
    expect(failed.stderr).toMatch(
      /letters \(train, valid\) needs .*, the disk of .* has .* free: make room, or set D2V_DATA/,
    );
    expect(server.requests).toEqual([]);
  });

  it('ends download and preparation with one line, and keeps what there is', async ({ skip }) => {
    const total = Object.values(archives).reduce((sum, { length }) => sum + length, 0);
    // Room for the downloads alone, less what something else takes meanwhile.
    const disk = smallDisk('filling', `${Math.ceil(total / 1024) + 40}k`);
    if (!disk) return skip('mounting a tmpfs needs root');
    const { finished } = startCli(data('download', 'letters', ...source(), '--limit-rate', '300k'), {
      env: environment(disk),
    });
    await until(() => statSync(join(disk, 'datasets/letters/raw/train.tar.part')).size > 50_000);
    writeFileSync(join(disk, 'other'), Buffer.alloc(100_000));
    const full = await finished;
    expect(full.code).toBe(1);
    expect(full.stderr.trim().split('\n').at(-1)).toMatch(
      /the disk of .* is full; what came so far is kept: make room/,
    );
    rmSync(join(disk, 'other'));
    server.requests.length = 0;
    expect((await run(data('download', 'letters', ...source()), disk)).code).toBe(0);
    // It went on: the first file, or what was there of the second, did not come again.
    expect(server.requests[0]).not.toMatchObject({
      path: '/train.tar',
      range: expect.stringMatching(/^bytes=0-/),
    });
    const early = await run(prepare(), disk);
    expect(early.code).toBe(1);
    expect(early.stderr).toMatch(/letters \(train, valid\) needs .*, the disk of .* has .* free: make room/);
    grow(disk, '20m');
    const slow = startCli(prepare('--pause-ms', '12'), { env: environment(disk) });
    await until(() => readdirSync(join(disk, 'datasets/letters/prepared')).length > 0);
    // As much as there is room for.
    expect(() => writeFileSync(join(disk, 'other'), Buffer.alloc(20 << 20))).toThrow('ENOSPC');
    const failed = await slow.finished;
    expect(failed.code).toBe(1);
    expect(failed.stderr).toMatch(/the disk of .* is full; what is done so far is kept: make room/);
    rmSync(join(disk, 'other'));
    expect((await run(prepare('--pause-ms', '12'), disk)).code).toBe(0);
    expect((await run(data('verify', 'letters'), disk)).stdout).toContain('all as they should be');
  });
});

/** Waits for something that happens in another process. */
async function until(happened: () => boolean): Promise<void> {
  for (let tries = 0; tries < 2000; tries++) {
    try {
      if (happened()) return;
    } catch {
      // not there yet
    }
    await sleep(10);
  }
  throw new Error('it did not happen');
}
