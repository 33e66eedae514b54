import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { D2vError } from '../errors.js';
import { lockRun } from './run-lock.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'd2v-lock-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const lockFile = () => join(folder, '.lock');
const plant = (content: object) => writeFileSync(lockFile(), JSON.stringify(content));

describe('lockRun', () => {
  it('keeps a second run out and names the first', async () => {
    const lock = await lockRun(folder);
    const second = lockRun(folder);
    await expect(second).rejects.toThrow(D2vError);
    await expect(second).rejects.toThrow(new RegExp(`process ${process.pid} on ${hostname()}`));
    await lock.release();
    expect(existsSync(lockFile())).toBe(false);
    await (await lockRun(folder)).release();
  });

  it('takes over the lock of a dead process', async () => {
    const { pid } = spawnSync(process.execPath, ['-e', '']);
    plant({ pid, host: hostname(), birth: null, started: 'once', token: 'x' });
    const lock = await lockRun(folder);
    expect(JSON.parse(readFileSync(lockFile(), 'utf8')).pid).toBe(process.pid);
    await lock.release();
    expect(readdirSync(folder)).toEqual([]);
  });

  it.runIf(process.platform === 'linux')('is not fooled by a reused process number', async () => {
    plant({ pid: process.pid, host: hostname(), birth: 'other boot:1', started: 'once', token: 'x' });
    await (await lockRun(folder)).release();
  });

  it.runIf(process.platform === 'linux')('takes a zombie for dead', async () => {
    // The shell becomes a program that never asks after its child, which must not end before: the shell would ask.
    const parent = spawn('sh', ['-c', 'sleep 30 & echo $!; exec sleep 30']);
    try {
      const pid = Number(await new Promise((resolve) => parent.stdout.once('data', resolve)));
      await expect.poll(() => readFileSync(`/proc/${parent.pid}/cmdline`, 'utf8')).toMatch(/^sleep/);
      process.kill(pid, 'SIGKILL');
      await expect
        .poll(() => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.[0], { timeout: 10_000 })
        .toBe('Z');
      plant({ pid, host: hostname(), birth: null, started: 'once', token: 'x' });
      await (await lockRun(folder)).release();
    } finally {
      parent.kill();
    }
  });

  it('replaces a lock that was cut short', async () => {
    writeFileSync(lockFile(), '');
    await (await lockRun(folder)).release();
  });

  it('never judges a lock of another host', async () => {
    plant({ pid: 1, host: 'elsewhere', birth: null, started: 'once', token: 'x' });
    await expect(lockRun(folder)).rejects.toThrow(/process 1 on elsewhere.*delete \.lock/);
  });

  it('lets exactly one of many through when all find the same dead lock', async () => {
    const { pid } = spawnSync(process.execPath, ['-e', '']);
    plant({ pid, host: hostname(), birth: null, started: 'once', token: 'x' });
    const results = await Promise.allSettled(Array.from({ length: 6 }, () => lockRun(folder)));
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
    for (const result of results) if (result.status === 'fulfilled') await result.value.release();
  });

  it('is freed when the process of a killed run is gone', async () => {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    plant({ pid: child.pid, host: hostname(), birth: null, started: 'once', token: 'x' });
    await expect(lockRun(folder)).rejects.toThrow(/in use by process/);
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
    await (await lockRun(folder)).release();
  });
});
