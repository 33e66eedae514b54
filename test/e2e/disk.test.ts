import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkpoints, outcome, resumeArguments, runCli, trainArguments } from './support/cli.js';
import { imageFolder } from './support/images.js';

let folder: string;
let data: string;
const mounts: string[] = [];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'd2v-disk-'));
  data = imageFolder(join(folder, 'images'));
});
afterAll(() => {
  for (const mount of mounts) spawnSync('umount', ['-l', mount]);
  rmSync(folder, { recursive: true, force: true });
});

const mountOptions = (path: string, options: string, kind: string[] = ['-t', 'tmpfs', 'tmpfs']) =>
  spawnSync('mount', ['-o', options, ...kind, path], { encoding: 'utf8' }).status === 0;

/** A small disk of its own, or undefined where mounting is not allowed. */
function smallDisk(name: string, size: string): string | undefined {
  const path = join(folder, name);
  mkdirSync(path);
  if (!mountOptions(path, `size=${size}`)) return undefined;
  mounts.push(path);
  return path;
}

const SETTINGS = [
  'optimization.max_update=20',
  'checkpoint.save_interval_updates=4',
  'checkpoint.keep_interval_updates=99',
];

describe('a disk that fills up', () => {
  it('ends the run with one line, and every checkpoint so far is good', async ({ skip }) => {
    const disk = smallDisk('small', '3m');
    if (!disk) return skip('mounting a tmpfs needs root');
    const run = join(disk, 'run');
    const full = await runCli(trainArguments(run, data, SETTINGS));
    expect(full.code).toBe(1);
    expect(full.stderr.trim().split('\n')).toHaveLength(1);
    const last = checkpoints(run).at(-1)!;
    expect(last).toBeLessThan(20);
    expect(full.stderr).toMatch(/the disk is full, .* free/);
    expect(full.stderr).toContain(`checkpoint ${last} is untouched`);
    mountOptions(disk, 'remount,size=40m', []);
    expect(await runCli(resumeArguments(run))).toMatchObject({ code: 0, stderr: '' });
    const whole = join(folder, 'whole');
    expect((await runCli(trainArguments(whole, data, SETTINGS))).code).toBe(0);
    expect(outcome(run, 20)).toEqual(outcome(whole, 20));
  }, 120_000);

  it('is noticed before the first update when not even one checkpoint fits', async ({ skip }) => {
    const disk = smallDisk('tiny', '200k');
    if (!disk) return skip('mounting a tmpfs needs root');
    const result = await runCli(trainArguments(join(disk, 'run'), data, SETTINGS));
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/a checkpoint of this run needs .*, but only .* are free/);
  }, 60_000);
});

describe('a folder that cannot be written', () => {
  it('ends the run with one line', async ({ skip }) => {
    const disk = smallDisk('readonly', '10m');
    if (!disk || !mountOptions(disk, 'remount,ro', [])) return skip('mounting a tmpfs needs root');
    const result = await runCli(trainArguments(join(disk, 'run'), data, SETTINGS));
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(
      /cannot write the run folder in .*: the file system is read-only; choose another folder/,
    );
    expect(result.stderr.trim().split('\n')).toHaveLength(1);
  }, 60_000);

  it.skipIf(process.getuid?.() === 0 || process.platform === 'win32')(
    'ends the run with one line (as a plain user)',
    async () => {
      const locked = join(folder, 'locked');
      mkdirSync(locked, { mode: 0o555 });
      const result = await runCli(trainArguments(join(locked, 'run'), data, SETTINGS));
      expect(result.code).toBe(1);
      expect(result.stderr).toMatch(/cannot write the run folder in .*: permission denied/);
    },
  );

  it('that was writable before keeps its checkpoints', async ({ skip }) => {
    const disk = smallDisk('later', '10m');
    if (!disk) return skip('mounting a tmpfs needs root');
    const run = join(disk, 'run');
    expect((await runCli(trainArguments(run, data, ['optimization.max_update=4']))).code).toBe(0);
    const before = readFileSync(join(run, 'checkpoints', '4', 'model.safetensors'));
    mountOptions(disk, 'remount,ro', []);
    const result = await runCli([...resumeArguments(run), '--max-updates', '8']);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/read-only/);
    expect(readFileSync(join(run, 'checkpoints', 'last', 'model.safetensors')).equals(before)).toBe(true);
    expect(existsSync(join(run, 'checkpoints', '8'))).toBe(false);
  }, 60_000);
});
