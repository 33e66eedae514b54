import { mkdtempSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkpoints, outcome, resumeArguments, runCli, startCli, trainArguments } from './support/cli.js';
import { imageFolder } from './support/images.js';

let folder: string;
let data: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'd2v-signals-'));
  data = imageFolder(join(folder, 'images'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(20);
}

describe.skipIf(process.platform === 'win32')('a run that is told to stop', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)(
    'by %s saves, says so, exits with 0, and goes on exactly',
    async (signal) => {
      const settings = ['optimization.max_update=60', 'checkpoint.save_interval_updates=10'];
      const run = join(folder, signal);
      const { child, finished } = startCli(trainArguments(run, data, settings));
      await until(() => checkpoints(run).length > 0);
      child.kill(signal);
      const result = await finished;
      expect(result).toMatchObject({ code: 0, stderr: '' });
      expect(result.stdout).toContain(`stopped by ${signal} after update`);
      const last = Number(readlinkSync(join(run, 'checkpoints', 'last')));
      expect(checkpoints(run)).toContain(last);
      expect(await runCli(resumeArguments(run))).toMatchObject({ code: 0, stderr: '' });
      const whole = join(folder, `${signal}-whole`);
      expect((await runCli(trainArguments(whole, data, settings))).code).toBe(0);
      expect(outcome(run, 60)).toEqual(outcome(whole, 60));
    },
    120_000,
  );
});

describe('two runs in one folder', () => {
  it('are one run and one clear error', async () => {
    const run = join(folder, 'shared');
    const args = trainArguments(run, data, [
      'optimization.max_update=100000',
      'checkpoint.save_interval_updates=5',
    ]);
    const first = startCli(args);
    await until(() => checkpoints(run).length > 0);
    const second = await runCli(args);
    expect(second.code).toBe(1);
    expect(second.stderr).toMatch(new RegExp(`in use by process ${first.child.pid} on `));
    expect(second.stderr.trim().split('\n')).toHaveLength(1);
    first.child.kill('SIGKILL');
    await first.finished;
    const third = await runCli([
      ...resumeArguments(run),
      '--max-updates',
      String((checkpoints(run).at(-1) ?? 0) + 1),
    ]);
    expect(third.code).toBe(0);
  }, 120_000);
});
