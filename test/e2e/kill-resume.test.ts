import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadModel } from '@d2v/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkpoints, outcome, resumeArguments, runCli, startCli, trainArguments } from './support/cli.js';
import { imageFolder } from './support/images.js';

const UPDATES = 48;
const SETTINGS = [
  `optimization.max_update=${UPDATES}`,
  'checkpoint.save_interval_updates=3',
  'checkpoint.keep_interval_updates=2',
  'eval.interval_updates=16',
];

let folder: string;
let data: string;
let whole: string;

/** A modality of variable lengths, batches of similar ones: several epochs, accumulated. */
const BY_LENGTH = [
  'data.limit=60',
  'data.batch_size=null',
  'data.batch_length=800',
  'optimization.update_freq=2',
  'optimization.max_update=24',
  'checkpoint.save_interval_updates=2',
  'checkpoint.keep_interval_updates=2',
  'model.depth=1',
  'model.average_top_k_layers=1',
  'model.encoder_dropout=0.1',
  'common.log_interval=4',
  'common.threads=1',
  'eval.report=false',
];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'd2v-kill-'));
  data = imageFolder(join(folder, 'images'));
  whole = join(folder, 'whole');
  const result = await runCli(trainArguments(whole, data, [...SETTINGS, 'data.num_workers=0']));
  expect(result.stderr).toBe('');
  expect(result.code).toBe(0);
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const start = (run: string, more: string[]) => trainArguments(run, data, [...SETTINGS, ...more]);

/** A run that is killed again and again; `victim` decides when. Returns how often it was killed. */
async function tormented(
  run: string,
  kills: number,
  victim: (run: string, attempt: number) => Promise<void>,
  { begin = start, updates = UPDATES } = {},
) {
  let killed = 0;
  for (let attempt = 0; attempt < kills; attempt++) {
    const begun = checkpoints(run).length > 0;
    const workers = `data.num_workers=${1 + (attempt % 2)}`;
    const { child, finished } = startCli(begun ? resumeArguments(run) : begin(run, [workers]));
    const over = new AbortController();
    void finished.then(() => over.abort());
    await Promise.race([victim(run, attempt), finished]);
    child.kill('SIGKILL');
    const { signal, code, stderr } = await finished;
    if (signal === 'SIGKILL') killed++;
    else expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    if (code === 0) break;
  }
  if (checkpoints(run).at(-1) !== updates) {
    const begun = checkpoints(run).length > 0;
    const last = await runCli(begun ? resumeArguments(run) : begin(run, []));
    expect(last).toMatchObject({ code: 0, stderr: '' });
  }
  return killed;
}

/** Waits until a new checkpoint is half written. */
async function duringCheckpoint(run: string, after: number): Promise<void> {
  for (;;) {
    let names: string[] = [];
    try {
      names = readdirSync(join(run, 'checkpoints'));
    } catch {
      // not yet
    }
    const unfinished = names.find((name) => /^\d+\.(tmp|old|trash)-/.test(name));
    if (unfinished && Number.parseInt(unfinished, 10) > after) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('a run that is killed with SIGKILL', () => {
  it('at random moments ends with the same bits as one that was not', async () => {
    const run = join(folder, 'random');
    // The first is killed before it gets anywhere, later ones at any point of the training.
    const killed = await tormented(run, 7, (_run, attempt) =>
      sleep(attempt === 0 ? 150 : attempt * 400 + Math.random() * 1500),
    );
    expect(killed).toBeGreaterThan(0);
    expect(outcome(run, UPDATES)).toEqual(outcome(whole, UPDATES));
  }, 300_000);

  it('while it writes a checkpoint ends with the same bits, and never loads half of one', async () => {
    const run = join(folder, 'writing');
    let after = 0;
    const killed = await tormented(run, 6, async (path, attempt) => {
      await duringCheckpoint(path, after);
      await sleep(attempt % 3);
      after = (checkpoints(path).at(-1) ?? 0) + 3;
    });
    expect(killed).toBeGreaterThan(0);
    expect(outcome(run, UPDATES)).toEqual(outcome(whole, UPDATES));
    expect(readdirSync(join(run, 'checkpoints')).filter((name) => name.includes('-'))).toEqual([]);
  }, 300_000);
});

describe('a run with batches by length', () => {
  const begin = (run: string, more: string[]) => [
    ...['train', 'timeseries', '--run', run],
    ...[...BY_LENGTH, ...more].flatMap((text) => ['--set', text]),
  ];

  it('that is killed after some checkpoints ends with the same bits as one that was not', async () => {
    const uninterrupted = join(folder, 'lengths-whole');
    const result = await runCli(begin(uninterrupted, ['data.num_workers=0']));
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(result.stdout).toMatch(
      /up to 1600 steps \(800 x 2 accumulated\).* steps \(\d % more with padding\)/,
    );
    const run = join(folder, 'lengths-killed');
    let before = 0;
    const victim = async () => {
      while (before < 24 && (checkpoints(run).at(-1) ?? 0) <= before) await sleep(5);
      await sleep(Math.random() * 60);
      before = checkpoints(run).at(-1) ?? 0;
    };
    const killed = await tormented(run, 4, victim, { begin, updates: 24 });
    expect(killed).toBeGreaterThan(0);
    expect(outcome(run, 24)).toEqual(outcome(uninterrupted, 24));
  }, 300_000);
});

describe('what a run leaves', () => {
  it('is two checkpoints and the best, and no path of this machine', () => {
    expect(checkpoints(whole).slice(-2)).toEqual([UPDATES - 3, UPDATES]);
    expect(checkpoints(whole).length).toBeLessThanOrEqual(3);
    for (const name of readdirSync(whole, { recursive: true, encoding: 'utf8' })) {
      const path = join(whole, name);
      let content: Buffer;
      try {
        content = readFileSync(path);
      } catch {
        continue;
      }
      expect(content.includes(folder), name).toBe(false);
    }
  });

  it('can be moved and used elsewhere', async () => {
    const moved = join(folder, 'elsewhere');
    cpSync(
      join(whole, 'checkpoints', String(UPDATES), 'model.safetensors'),
      join(moved, 'model.safetensors'),
    );
    const model = await loadModel(join(moved, 'model.safetensors'));
    const { shape, names } = await model.embed([join(data, 'vertical')], { numWorkers: 0 });
    expect(shape).toEqual([12, 32]);
    expect(names[0]).toContain('.png');
    model.dispose();
  });
});
